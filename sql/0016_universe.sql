-- Names over time, who was in an index when, tiers by liquidity, and the tracked set of each night.

-- --- names ------------------------------------------------------------------------------------------------------------

CREATE TABLE symbol_changes (
    symbol        text        NOT NULL,
    effective_on  date        NOT NULL,
    kind          text        NOT NULL CHECK (kind IN ('rename', 'reuse')),
    new_symbol    text,
    instrument_id integer     NOT NULL REFERENCES instruments,
    source        text        NOT NULL,
    as_of         timestamptz NOT NULL,
    PRIMARY KEY (symbol, effective_on),
    CHECK ((kind = 'rename') = (new_symbol IS NOT NULL))
);
COMMENT ON TABLE symbol_changes IS
    'Why a name passed on: an instrument took another one (rename), or another instrument took this one (reuse).';
COMMENT ON COLUMN symbol_changes.instrument_id IS 'Who is renamed, or who bears the reused name from that day on.';
REVOKE UPDATE, DELETE, TRUNCATE ON symbol_changes FROM PUBLIC, qm_writer, qm_reader;

CREATE FUNCTION symbol_bearer(of_symbol text, asof date DEFAULT NULL) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT instrument_id FROM instrument_symbols
    WHERE symbol = upper(of_symbol) AND CASE
        WHEN asof IS NULL THEN valid_to IS NULL
        ELSE valid_from <= asof AND (valid_to IS NULL OR asof < valid_to)
    END
$$;
COMMENT ON FUNCTION symbol_bearer IS 'The instrument that bore a symbol on a day, now by default; null where none did.';

-- --- index membership --------------------------------------------------------------------------------------------------

-- Stays as a source tells them, under the names that it uses; who bore the name is looked up when read, so that a
-- rename that becomes known later needs no change here.
CREATE TABLE index_spells (
    index_code text NOT NULL,
    symbol     text NOT NULL,
    start_on   date NOT NULL,
    end_on     date,
    source     text NOT NULL,
    PRIMARY KEY (index_code, symbol, start_on),
    CHECK (end_on > start_on)
);
COMMENT ON COLUMN index_spells.start_on IS 'First day in the index; 1900-01-01: since before the source looked.';
COMMENT ON COLUMN index_spells.end_on IS 'First day out of it; null while the stay lasts.';

CREATE TABLE index_coverage (
    index_code   text        NOT NULL,
    kind         text        NOT NULL CHECK (kind IN ('spells', 'lists')),
    covered_from date        NOT NULL,
    covered_to   date        NOT NULL,
    source       text        NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (index_code, kind, covered_from),
    CHECK (covered_to >= covered_from)
);
COMMENT ON TABLE index_coverage IS
    'The days, both ends inclusive, on which the members of an index are known: by index_spells, or by the lists that'
    ' index_constituents was kept up to date with. No other day is answered.';

-- The names of a source of spells may be those that it uses today, not those of the day: where nobody bore the name on
-- that day and only one instrument ever did, that one is meant.
CREATE FUNCTION spell_bearer(of_symbol text, day date) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT coalesce(symbol_bearer(of_symbol, day), (
        SELECT min(instrument_id) FROM instrument_symbols
        WHERE symbol = of_symbol HAVING count(DISTINCT instrument_id) = 1
    ))
$$;

CREATE FUNCTION index_members(of_index text, day date) RETURNS TABLE (
    symbol text, instrument_id integer, current_symbol text, name text, start_on date, end_on date, source text
) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    reach index_coverage;
BEGIN
    SELECT * INTO reach FROM index_coverage c
    WHERE c.index_code = upper(of_index) AND day BETWEEN c.covered_from AND c.covered_to
    ORDER BY c.kind = 'spells' DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the members of % on % are not known', upper(of_index), day
            USING ERRCODE = 'no_data_found', HINT = 'index_coverage says which days are; docs/universe.md how to add some.';
    END IF;
    RETURN QUERY
    WITH found AS (
        SELECT s.symbol, spell_bearer(s.symbol, day) AS instrument_id, s.start_on, s.end_on, s.source
        FROM index_spells s
        WHERE reach.kind = 'spells' AND s.index_code = reach.index_code
          AND s.start_on <= day AND (s.end_on IS NULL OR day < s.end_on)
        UNION ALL
        SELECT n.symbol, c.instrument_id, c.first_seen, c.became_inactive_at, reach.source
        FROM index_constituents c
        LEFT JOIN instrument_symbols n ON n.instrument_id = c.instrument_id
            AND n.valid_from <= day AND (n.valid_to IS NULL OR day < n.valid_to)
        WHERE reach.kind = 'lists' AND c.index_code = reach.index_code
          AND c.first_seen <= day AND (c.became_inactive_at IS NULL OR day < c.became_inactive_at)
    )
    SELECT f.symbol, f.instrument_id, n.symbol, i.name, f.start_on, f.end_on, f.source
    FROM found f
    LEFT JOIN instruments i ON i.instrument_id = f.instrument_id
    LEFT JOIN instrument_symbols n ON n.instrument_id = f.instrument_id AND n.valid_to IS NULL
    ORDER BY f.symbol COLLATE "C";
END
$$;
COMMENT ON FUNCTION index_members IS
    'Who was in an index on a day, by the names of that day; an error where index_coverage does not hold the day.';

-- Stays of instruments: one row for an uninterrupted stay, whatever names were borne during it.
CREATE VIEW index_stays AS
SELECT s.index_code, s.instrument_id, coalesce(n.symbol, s.symbol) AS symbol,
       lower(s.stay) AS start_on, upper(s.stay) AS end_on
FROM (
    SELECT index_code, instrument_id, max(symbol) AS symbol, unnest(range_agg(daterange(start_on, end_on))) AS stay
    FROM (SELECT p.*, spell_bearer(p.symbol, p.start_on) AS instrument_id FROM index_spells p) AS borne
    GROUP BY index_code, instrument_id, CASE WHEN instrument_id IS NULL THEN symbol END
) AS s
LEFT JOIN instrument_symbols n ON n.instrument_id = s.instrument_id AND n.valid_to IS NULL;

-- --- tiers and nights ----------------------------------------------------------------------------------------------------

ALTER TABLE symbol_universe
    ADD COLUMN dollar_volume  double precision,
    ADD COLUMN liquidity_rank integer,
    ADD COLUMN ranked_on      date;
COMMENT ON COLUMN symbol_universe.dollar_volume IS
    'Mean of close times volume over the 20 sessions up to ranked_on, one without a validated bar counting as nothing.';

CREATE TABLE universe_versions (
    session     date        PRIMARY KEY,
    hash        text        NOT NULL,
    symbols     text[]      NOT NULL,
    tiers       text[]      NOT NULL,
    computed_at timestamptz NOT NULL,
    CHECK (cardinality(symbols) = cardinality(tiers))
);
COMMENT ON TABLE universe_versions IS 'The tracked set of each night by the names of that night, in their order.';
COMMENT ON COLUMN universe_versions.hash IS 'SHA-256 of the symbols, one per line; equal hashes are equal sets.';

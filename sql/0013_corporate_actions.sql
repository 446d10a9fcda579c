-- Corporate actions that are withdrawn, disputed or unannounced, and bars in the series that people ask for.

-- --- what vendors say --------------------------------------------------------------------------------------------------

-- An action that turns out wrong is withdrawn by a further row with the same content; nothing is ever deleted.
ALTER TABLE corporate_actions ADD COLUMN withdrawn boolean NOT NULL DEFAULT false;
DO $$
DECLARE
    old text;
BEGIN
    FOR old IN SELECT conname FROM pg_constraint WHERE conrelid = 'corporate_actions'::regclass AND contype IN ('u', 'c') LOOP
        EXECUTE format('ALTER TABLE corporate_actions DROP CONSTRAINT %I', old);
    END LOOP;
END
$$;
ALTER TABLE corporate_actions
    ADD CONSTRAINT corporate_actions_key UNIQUE NULLS NOT DISTINCT
        (instrument_id, kind, ex_date, vendor, numerator, denominator, amount, currency, as_of, withdrawn),
    ADD CONSTRAINT corporate_actions_kind CHECK (kind IN ('split', 'stock_dividend', 'cash_dividend')),
    ADD CONSTRAINT corporate_actions_ratio CHECK (
        (kind = 'cash_dividend') = (numerator IS NULL)
        AND (numerator IS NULL) = (denominator IS NULL)
        AND (kind = 'cash_dividend' OR numerator > 0 AND denominator > 0)
    ),
    ADD CONSTRAINT corporate_actions_amount CHECK (
        (kind = 'cash_dividend') = (amount IS NOT NULL) AND (amount IS NULL OR amount > 0 AND currency IS NOT NULL)
    );
COMMENT ON COLUMN corporate_actions.kind IS
    'A stock dividend is a split by another name: 5 % in new shares are 21 for 20.';
COMMENT ON COLUMN corporate_actions.vendor IS
    'Who said it; prices: nobody did on this day, a split named for another one shows in the prices on it.';
COMMENT ON COLUMN corporate_actions.amount IS
    'Cash per share held at the close before the ex-date.';

-- Which of the contradicting actions count, and why. Only what is disputed, agreed on or at odds with prices has rows here.
CREATE TABLE action_verdicts (
    verdict_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    action_id  integer     NOT NULL REFERENCES corporate_actions,
    in_force   boolean     NOT NULL,
    reason     text        NOT NULL,
    rivals     integer[]   NOT NULL DEFAULT '{}',
    evidence   jsonb       NOT NULL DEFAULT '{}',
    decided_at timestamptz NOT NULL
);
CREATE INDEX action_verdicts_action ON action_verdicts (action_id, verdict_id DESC);
COMMENT ON COLUMN action_verdicts.rivals IS 'The other actions of the same event, by action_id.';
COMMENT ON COLUMN action_verdicts.evidence IS
    'What the prices say: the move of the open from the close before, the move left over with this action.';
REVOKE UPDATE, DELETE, TRUNCATE ON action_verdicts FROM PUBLIC, qm_writer, qm_reader;

-- Which vendors were asked whether a jump is a split that nobody had named.
CREATE TABLE split_lookups (
    instrument_id integer     NOT NULL REFERENCES instruments,
    session       date        NOT NULL,
    vendor        text        NOT NULL,
    found         boolean     NOT NULL,
    asked_at      timestamptz NOT NULL,
    PRIMARY KEY (instrument_id, session, vendor)
);
COMMENT ON TABLE split_lookups IS
    'A jump as of a split is held until a vendor other than that of the bar has said that there was none, or named it.';

-- What each vendor stands by at a moment: its newest word on a day, unless it was taken back.
CREATE FUNCTION action_claims_known_at(at timestamptz) RETURNS SETOF corporate_actions LANGUAGE sql STABLE AS $$
    SELECT action_id, instrument_id, kind, ex_date, numerator, denominator, amount, currency, vendor, as_of, withdrawn
    FROM (
        SELECT a.*, max(a.as_of) OVER said AS newest, max(a.action_id) FILTER (WHERE a.withdrawn) OVER said AS taken_back
        FROM corporate_actions a
        WHERE a.as_of <= at
        WINDOW said AS (PARTITION BY a.instrument_id, a.ex_date, a.kind, a.vendor)
    ) AS words
    WHERE as_of = newest AND NOT withdrawn AND (taken_back IS NULL OR action_id > taken_back)
$$;

-- The split in force for a day is, of those that no verdict ruled out, the one learned last.
CREATE OR REPLACE FUNCTION splits_known_at(at timestamptz) RETURNS TABLE (
    instrument_id integer, ex_date date, numerator numeric, denominator numeric, vendor text, as_of timestamptz
) LANGUAGE sql STABLE AS $$
    SELECT DISTINCT ON (c.instrument_id, c.ex_date)
           c.instrument_id, c.ex_date, c.numerator, c.denominator, c.vendor, c.as_of
    FROM action_claims_known_at(at) c
    WHERE c.kind <> 'cash_dividend' AND coalesce((
        SELECT v.in_force FROM action_verdicts v
        WHERE v.action_id = c.action_id AND v.decided_at <= at ORDER BY v.verdict_id DESC LIMIT 1
    ), true)
    ORDER BY c.instrument_id, c.ex_date, c.as_of DESC, c.action_id DESC
$$;
CREATE OR REPLACE VIEW splits_in_force AS SELECT * FROM splits_known_at('infinity');

-- The dividend in force for a day is the sum of what one vendor named for it: that of the newest word not ruled out.
CREATE FUNCTION dividends_known_at(at timestamptz) RETURNS TABLE (
    instrument_id integer, ex_date date, amount numeric, currency text, vendor text, as_of timestamptz
) LANGUAGE sql STABLE AS $$
    SELECT instrument_id, ex_date, sum(amount), currency, vendor, max(as_of)
    FROM (
        SELECT c.*, first_value(c.vendor) OVER (
            PARTITION BY c.instrument_id, c.ex_date ORDER BY c.as_of DESC, c.action_id DESC
        ) AS believed
        FROM action_claims_known_at(at) c
        WHERE c.kind = 'cash_dividend' AND coalesce((
            SELECT v.in_force FROM action_verdicts v
            WHERE v.action_id = c.action_id AND v.decided_at <= at ORDER BY v.verdict_id DESC LIMIT 1
        ), true)
    ) AS accepted
    WHERE vendor = believed
    GROUP BY instrument_id, ex_date, currency, vendor
$$;
CREATE VIEW dividends_in_force AS SELECT * FROM dividends_known_at('infinity');

-- Actions that several vendors tell otherwise, or that the prices contradict, with what was made of them.
CREATE VIEW action_conflicts AS
SELECT s.symbol, c.kind, c.ex_date, c.numerator, c.denominator, c.amount, c.currency, c.vendor, c.as_of,
       v.in_force, v.reason, v.evidence, v.decided_at, c.action_id, v.rivals
FROM action_claims_known_at('infinity') c
JOIN LATERAL (
    SELECT * FROM action_verdicts v WHERE v.action_id = c.action_id ORDER BY v.verdict_id DESC LIMIT 1
) v ON v.reason NOT IN ('agreed', 'undisputed')
LEFT JOIN instrument_symbols s ON s.instrument_id = c.instrument_id AND s.valid_to IS NULL;

-- --- bars in the series that people ask for ----------------------------------------------------------------------------

CREATE AGGREGATE product(numeric) (SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1', PARALLEL = SAFE);
CREATE AGGREGATE product(double precision) (SFUNC = float8mul, STYPE = double precision, INITCOND = '1', PARALLEL = SAFE);

-- Daily bars of score 0.5 or more of the symbol's present bearer, in the shares, and for a total return in the money, of
-- the last session returned; docs/adjustment.md has the formulas.
CREATE FUNCTION adjusted_bars(
    of_symbol text, adjust text DEFAULT 'split', convention text DEFAULT 'previous_close', until date DEFAULT NULL
) RETURNS TABLE (
    symbol text, session date, open double precision, high double precision, low double precision,
    close double precision, volume double precision, factor double precision, volume_factor double precision,
    basis text, vendor text, quality_score double precision
) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    own integer;
BEGIN
    IF adjust NOT IN ('raw', 'split', 'total_return') THEN
        RAISE EXCEPTION 'adjust is raw, split or total_return, not %', adjust USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF convention NOT IN ('previous_close', 'ex_close') THEN
        RAISE EXCEPTION 'convention is previous_close or ex_close, not %', convention
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT s.instrument_id INTO own FROM instrument_symbols s WHERE s.symbol = upper(of_symbol) AND s.valid_to IS NULL;
    IF own IS NULL THEN
        RAISE EXCEPTION 'no instrument bears the symbol % now', of_symbol USING ERRCODE = 'no_data_found';
    END IF;
    IF adjust = 'raw' AND EXISTS (
        SELECT FROM price_data_1d p JOIN bar_sources b USING (source_id)
        WHERE p.instrument_id = own AND b.basis <> 'raw' AND p.quality_score >= 0.5 AND (until IS NULL OR p.session <= until)
    ) THEN
        RAISE EXCEPTION '%: prices as traded are not known: a source gave them adjusted', of_symbol
            USING HINT = 'Ask for split, or see the column basis of the view bars.';
    END IF;
    RETURN QUERY
    WITH splits AS MATERIALIZED (
        SELECT s.ex_date, s.numerator, s.denominator FROM splits_in_force s WHERE s.instrument_id = own AND adjust <> 'raw'
    ), stored AS MATERIALIZED (
        SELECT p.*, b.basis, b.vendor,
               CASE WHEN b.basis = 'raw' THEN p.session ELSE greatest(p.session, b.basis_date) END AS quoted,
               CASE WHEN b.basis = 'split_dividend' THEN greatest(p.session, b.basis_date) ELSE p.session END AS paid,
               max(p.session) OVER () AS last_session
        FROM price_data_1d p JOIN bar_sources b USING (source_id)
        WHERE p.instrument_id = own AND p.quality_score >= 0.5 AND (until IS NULL OR p.session <= until)
    ), quoted AS MATERIALIZED (
        SELECT t.*,
               (SELECT (product(s.denominator) / product(s.numerator))::double precision FROM splits s
                WHERE s.ex_date > t.quoted AND s.ex_date <= t.last_session) AS split_factor
        FROM stored t
    ), paid AS MATERIALIZED (
        -- Each dividend's growth, measured in the shares of the last session.
        SELECT d.ex_date,
               CASE convention
                   WHEN 'ex_close' THEN 1 + d.cash / nullif(behind.close * behind.split_factor, 0)
                   ELSE 1 / nullif(greatest(1 - d.cash / (before.close * before.split_factor), 0), 0)
               END AS growth
        FROM (
            SELECT f.ex_date, f.amount::double precision * (
                       SELECT (product(s.denominator) / product(s.numerator))::double precision FROM splits s
                       WHERE s.ex_date >= f.ex_date AND s.ex_date <= (SELECT max(last_session) FROM stored)
                   ) AS cash
            FROM (
                SELECT f.ex_date, sum(f.amount) AS amount FROM dividends_in_force f
                JOIN instruments i USING (instrument_id)
                WHERE f.instrument_id = own AND f.currency = i.currency AND adjust = 'total_return'
                GROUP BY f.ex_date
            ) f
        ) d
        JOIN LATERAL (SELECT q.close, q.split_factor FROM quoted q WHERE q.session < d.ex_date
                      ORDER BY q.session DESC LIMIT 1) before ON true
        JOIN LATERAL (SELECT q.close, q.split_factor FROM quoted q WHERE q.session >= d.ex_date
                      ORDER BY q.session LIMIT 1) behind ON true
    ), factors AS (
        SELECT q.*,
               q.split_factor / (SELECT product(coalesce(d.growth, 1)) FROM paid d
                                 WHERE d.ex_date > q.paid AND d.ex_date <= q.last_session) AS price_factor
        FROM quoted q
    )
    SELECT upper(of_symbol), f.session, f.open * f.price_factor, f.high * f.price_factor, f.low * f.price_factor,
           f.close * f.price_factor, f.volume / f.split_factor, f.price_factor, 1 / f.split_factor,
           f.basis, f.vendor, f.quality_score
    FROM factors f
    ORDER BY f.session;
END
$$;

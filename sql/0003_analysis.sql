-- The latest snapshot per instrument, and the history that is only ever added to. The indicator columns follow in 0004,
-- which is generated from the catalogue of indicators.
CREATE TABLE market_analysis_cache (
    instrument_id    integer     NOT NULL REFERENCES instruments,
    analysis_type    text        NOT NULL DEFAULT 'technical',
    session          date        NOT NULL,
    expiry_timestamp timestamptz NOT NULL,
    as_of            timestamptz NOT NULL,
    raw_analysis     jsonb,
    close            double precision NOT NULL,
    PRIMARY KEY (instrument_id, analysis_type)
);
COMMENT ON COLUMN market_analysis_cache.expiry_timestamp IS 'The next close plus grace: from then on a newer row is due.';

CREATE TABLE market_analysis_history (
    instrument_id integer     NOT NULL,
    session       date        NOT NULL,
    analysis_type text        NOT NULL DEFAULT 'technical',
    revision      smallint    NOT NULL DEFAULT 1,
    as_of         timestamptz NOT NULL,
    raw_analysis  jsonb,
    close         double precision NOT NULL,
    PRIMARY KEY (session, instrument_id, analysis_type, revision)
) PARTITION BY RANGE (session);
CREATE INDEX market_analysis_history_instrument ON market_analysis_history (instrument_id, session);
COMMENT ON COLUMN market_analysis_history.revision IS
    '1 for what was recorded first; a restatement stands beside it under the next number.';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: the history is immutable; record a restatement as a new revision', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER history_is_immutable BEFORE UPDATE OR DELETE ON market_analysis_history
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER history_is_not_truncated BEFORE TRUNCATE ON market_analysis_history
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Partitions are made when their year is first written. The function runs with its owner's rights, so that a writer needs
-- none on the schema; a partition gets the statement trigger and the rights that it would not inherit.
CREATE FUNCTION ensure_history_partitions(first_year integer, last_year integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    partition_name text;
BEGIN
    FOR y IN first_year..last_year LOOP
        partition_name := format('market_analysis_history_%s', y);
        IF to_regclass(partition_name) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF market_analysis_history FOR VALUES FROM (%L) TO (%L)',
                           partition_name, make_date(y, 1, 1), make_date(y + 1, 1, 1));
            EXECUTE format('CREATE TRIGGER history_is_not_truncated BEFORE TRUNCATE ON %I'
                           ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', partition_name);
            EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON %I FROM PUBLIC, qm_writer, qm_reader', partition_name);
        END IF;
    END LOOP;
END
$$;

-- From which session on an instrument's recorded history no longer follows from its bars: a late bar, a healed hole, a
-- revision, a split learned late. Whoever writes bars notes it, whoever records history works it off.
CREATE TABLE history_due (
    instrument_id integer PRIMARY KEY REFERENCES instruments,
    first_session date NOT NULL
);

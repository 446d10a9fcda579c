-- What ran and how it went, whichever database Dagster keeps its own tables in; and what may go when it has become old.

-- --- what ran ----------------------------------------------------------------------------------------------------------

CREATE TABLE runs (
    run_id        text        PRIMARY KEY,
    job           text        NOT NULL,
    first_session date,
    last_session  date,
    params        jsonb       NOT NULL DEFAULT '{}',
    status        text        NOT NULL CHECK (status IN ('running', 'success', 'failure', 'canceled')),
    started_at    timestamptz NOT NULL,
    ended_at      timestamptz,
    step_seconds  jsonb       NOT NULL DEFAULT '{}',
    counters      jsonb       NOT NULL DEFAULT '{}',
    error         text,
    CHECK ((status = 'running') = (ended_at IS NULL)),
    CHECK ((first_session IS NULL) = (last_session IS NULL)),
    CHECK (status <> 'failure' OR error IS NOT NULL)
);
CREATE INDEX runs_job ON runs (job, started_at DESC);
CREATE INDEX runs_started ON runs (started_at);
CREATE INDEX runs_under_way ON runs (run_id) WHERE status = 'running';
COMMENT ON COLUMN runs.first_session IS 'Both ends are inclusive; null of a job without sessions.';
COMMENT ON COLUMN runs.params IS 'The tags that the run was given, without Dagster''s own.';
COMMENT ON COLUMN runs.counters IS 'What each asset or step counted: its numbers by name.';

-- A run holds the shared lock of its id while its process lives. The server releases it with the connection, so that
-- whoever gets it alone knows that the run is over, whatever its row says.
CREATE FUNCTION run_lock(of_run text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT hashtextextended(of_run, 7200) $$;

CREATE VIEW job_run AS
SELECT run_id AS id, job AS task_name,
       params || jsonb_strip_nulls(jsonb_build_object('first_session', first_session, 'last_session', last_session)) AS params,
       CASE status WHEN 'success' THEN 'ok' WHEN 'failure' THEN 'error' ELSE status END AS status,
       started_at, ended_at AS finished_at,
       extract(epoch FROM ended_at - started_at)::double precision AS duration_seconds,
       counters, error
FROM runs;
COMMENT ON VIEW job_run IS 'The table runs under the names of another system: status is running, ok, error or canceled.';

ALTER TABLE backfill_jobs ADD COLUMN inserted integer CHECK (inserted >= 0);
COMMENT ON COLUMN backfill_jobs.inserted IS
    'Bars of its sessions that were first learned while it was worked; null until it is done, and of jobs before it was kept.';

CREATE VIEW backfill_history AS
SELECT s.symbol, j.first_session AS start_date, j.last_session AS end_date, j.inserted::bigint AS records_imported,
       j.finished_at AS backfill_timestamp, j.state = 'done' AS success, j.reason AS error_details,
       j.interval, j.origin, j.job_id::text AS id
FROM backfill_jobs j
LEFT JOIN LATERAL (
    SELECT symbol FROM instrument_symbols n WHERE n.instrument_id = j.instrument_id
    ORDER BY valid_to DESC NULLS FIRST LIMIT 1
) AS s ON true
WHERE j.state IN ('done', 'failed')
UNION ALL
SELECT NULL, r.first_session, r.last_session, (r.counters -> 'daily_bars' ->> 'inserted')::bigint, r.ended_at,
       r.status = 'success', r.error, '1d', r.job, r.run_id
FROM runs r
WHERE r.ended_at IS NOT NULL AND r.counters -> 'daily_bars' ? 'inserted';
COMMENT ON VIEW backfill_history IS
    'What was fetched after the event: jobs of the backfill queue by symbol, and runs that stored bars, without a symbol.';

-- --- bars shorter than a day, a partition per month --------------------------------------------------------------------

CREATE TABLE price_data_5m PARTITION OF price_data FOR VALUES IN ('5m') PARTITION BY RANGE (session);
ALTER TABLE price_data_5m ADD PRIMARY KEY (instrument_id, session, opened_at);
CREATE TABLE price_data_1m PARTITION OF price_data FOR VALUES IN ('1m') PARTITION BY RANGE (session);
ALTER TABLE price_data_1m ADD PRIMARY KEY (instrument_id, session, opened_at);

-- With the owner's rights, so that a writer needs none on the schema. A month of an interval is one table: old ones are
-- dropped, which costs nothing and leaves no dead rows behind.
CREATE FUNCTION ensure_intraday_partitions(of_interval text, first_day date, last_day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    month date;
    partition_name text;
BEGIN
    IF of_interval NOT IN ('5m', '1m') THEN
        RAISE EXCEPTION 'bars of % have no partitions by month, only those of 5m and 1m', of_interval
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR month IN SELECT m::date FROM generate_series(date_trunc('month', first_day), last_day, interval '1 month') m LOOP
        partition_name := format('price_data_%s_%s', of_interval, to_char(month, 'YYYY_MM'));
        IF to_regclass(partition_name) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', partition_name,
                           'price_data_' || of_interval, month, (month + interval '1 month')::date);
        END IF;
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION ensure_intraday_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_intraday_partitions TO qm_writer;

CREATE VIEW intraday_partitions AS
SELECT right(parent.relname, 2) AS interval, child.relname::text AS name,
       to_date(right(child.relname, 7), 'YYYY_MM') AS first_day,
       (to_date(right(child.relname, 7), 'YYYY_MM') + interval '1 month')::date AS next_day,
       pg_total_relation_size(child.oid) AS bytes
FROM pg_inherits i
JOIN pg_class parent ON parent.oid = i.inhparent
JOIN pg_class child ON child.oid = i.inhrelid
WHERE parent.oid IN ('price_data_5m'::regclass, 'price_data_1m'::regclass);
COMMENT ON VIEW intraday_partitions IS 'The months of bars shorter than a day; next_day is exclusive.';

-- --- what may go -------------------------------------------------------------------------------------------------------

-- Daily bars and the history have no such function, and a writer has no right to delete from the history or from revisions:
-- no setting reaches them.
CREATE FUNCTION drop_intraday_partitions(of_interval text, before date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    old text;
    dropped integer := 0;
BEGIN
    FOR old IN SELECT p.name FROM intraday_partitions p WHERE p.interval = of_interval AND p.next_day <= before LOOP
        EXECUTE format('DROP TABLE %I', old);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;
REVOKE EXECUTE ON FUNCTION drop_intraday_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drop_intraday_partitions TO qm_writer;
COMMENT ON FUNCTION drop_intraday_partitions IS 'Drop the months of 5m or 1m bars that end before a day; say how many.';

CREATE TABLE forgotten_versions (
    exact_since  timestamptz PRIMARY KEY,
    versions     bigint      NOT NULL CHECK (versions > 0),
    forgotten_at timestamptz NOT NULL
);
COMMENT ON TABLE forgotten_versions IS 'Superseded versions of bars that were given up.';
COMMENT ON COLUMN forgotten_versions.exact_since IS 'What was known at an earlier moment can''t be told any more.';

CREATE FUNCTION forget_bar_versions(before timestamptz, at timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    gone bigint;
    newest timestamptz;
BEGIN
    WITH deleted AS (
        DELETE FROM price_data_revisions r WHERE r.superseded_at < before RETURNING r.superseded_at
    )
    SELECT count(*), max(superseded_at) INTO gone, newest FROM deleted;
    IF gone > 0 THEN
        INSERT INTO forgotten_versions AS f (exact_since, versions, forgotten_at) VALUES (newest, gone, at)
        ON CONFLICT (exact_since) DO UPDATE SET versions = f.versions + excluded.versions, forgotten_at = excluded.forgotten_at;
    END IF;
    RETURN gone;
END
$$;
REVOKE EXECUTE ON FUNCTION forget_bar_versions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_bar_versions TO qm_writer;
REVOKE UPDATE, DELETE, TRUNCATE ON forgotten_versions FROM PUBLIC, qm_writer, qm_reader;

CREATE FUNCTION require_bars_known_at(at timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    since timestamptz;
BEGIN
    SELECT max(exact_since) INTO since FROM forgotten_versions;
    IF at < since THEN
        RAISE EXCEPTION 'what was known of bars at % can not be told any more: versions superseded up to % were given up',
            at, since
            USING ERRCODE = 'QM001', HINT = 'Ask for ' || since || ' or later; QM_RETAIN_REVISIONS_DAYS says how long versions are kept.';
    END IF;
    RETURN true;
END
$$;

CREATE OR REPLACE VIEW price_data_versions AS
SELECT v.instrument_id, v.interval, v.session, v.opened_at, v.open, v.high, v.low, v.close, v.volume,
       v.quality_score, v.validated, v.gap_detected, v.volume_anomaly, v.source_id, b.vendor, b.basis, b.basis_date,
       v.version, v.as_of, v.superseded_at,
       CASE
           WHEN b.provisional THEN 'provisional'
           WHEN v.version > 1 AND EXISTS (
               SELECT FROM price_data_revisions e JOIN bar_sources f ON f.source_id = e.source_id
               WHERE e.instrument_id = v.instrument_id AND e.interval = v.interval AND e.session = v.session
                 AND e.opened_at IS NOT DISTINCT FROM v.opened_at AND e.version < v.version AND NOT f.provisional
                 AND (e.open, e.high, e.low, e.close, e.volume) <> (v.open, v.high, v.low, v.close, v.volume)
           ) THEN 'revised'
           ELSE 'final'
       END AS status,
       CASE
           WHEN v.version = 1 THEN 'first'
           ELSE coalesce((
               SELECT e.reason FROM price_data_revisions e
               WHERE e.instrument_id = v.instrument_id AND e.interval = v.interval AND e.session = v.session
                 AND e.opened_at IS NOT DISTINCT FROM v.opened_at AND e.version = v.version - 1
           ), 'forgotten')
       END AS reason
FROM (
    SELECT instrument_id, interval, session, opened_at, open, high, low, close, volume, quality_score, validated,
           gap_detected, volume_anomaly, source_id, version, as_of, NULL::timestamptz AS superseded_at
    FROM price_data
    UNION ALL
    SELECT instrument_id, interval, session, opened_at, open, high, low, close, volume, quality_score, validated,
           gap_detected, volume_anomaly, source_id, version, as_of, superseded_at
    FROM price_data_revisions
) AS v
JOIN bar_sources b ON b.source_id = v.source_id;
COMMENT ON COLUMN price_data_versions.status IS
    'provisional: before close and grace; final: as first proved; revised: with other numbers than an earlier final version'
    ' that is still kept.';
COMMENT ON COLUMN price_data_versions.reason IS
    'Why this version came: first, or why it took its predecessor''s place; forgotten where that was given up.';

CREATE OR REPLACE FUNCTION price_data_known_at(at timestamptz) RETURNS SETOF price_data_versions LANGUAGE sql STABLE AS $$
    SELECT * FROM price_data_versions
    WHERE require_bars_known_at(at) AND as_of <= at AND (superseded_at IS NULL OR superseded_at > at)
$$;

CREATE OR REPLACE FUNCTION bars_known_at(at timestamptz) RETURNS TABLE (
    symbol text, "interval" text, session date, opened_at timestamptz, open double precision, high double precision,
    low double precision, close double precision, volume double precision, quality_score double precision,
    validated boolean, gap_detected boolean, volume_anomaly boolean, vendor text, basis text, basis_date date,
    version smallint, as_of timestamptz, status text, reason text
) LANGUAGE sql STABLE AS $$
    SELECT s.symbol, p.interval, p.session, p.opened_at, p.open, p.high, p.low, p.close, p.volume, p.quality_score,
           p.validated, p.gap_detected, p.volume_anomaly, p.vendor, p.basis, p.basis_date, p.version, p.as_of,
           p.status, p.reason
    FROM price_data_versions p
    JOIN instrument_symbols s ON s.instrument_id = p.instrument_id AND s.valid_to IS NULL
    WHERE require_bars_known_at(at) AND p.as_of <= at AND (p.superseded_at IS NULL OR p.superseded_at > at)
$$;

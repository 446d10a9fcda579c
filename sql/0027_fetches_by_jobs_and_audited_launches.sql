-- Every run that fetched bars is in the history of backfills; what became of a launch stands beside who asked for it.

-- --- what was fetched --------------------------------------------------------------------------------------------------

-- The assets' runs count their bars under daily_bars, the jobs of some symbols and of an index under their own step. Such a
-- job that failed before it had counted anything is told as well, with its error.
CREATE OR REPLACE VIEW backfill_history AS
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
SELECT NULL, r.first_session, r.last_session, c.inserted, r.ended_at, r.status = 'success', r.error, '1d', r.job, r.run_id
FROM runs r
CROSS JOIN LATERAL (
    SELECT sum((r.counters -> step ->> 'inserted')::bigint)::bigint AS inserted
    FROM unnest(ARRAY['daily_bars', 'fetch_symbols', 'fetch_index']) AS step
) AS c
WHERE r.ended_at IS NOT NULL
  AND (c.inserted IS NOT NULL OR r.status = 'failure' AND r.job IN ('backfill_symbols', 'backfill_index'));

-- --- what became of a launch -------------------------------------------------------------------------------------------

-- Who launches a run is recorded before it is launched. What came of it is a row of its own, since what was recorded is
-- never changed; without one the run may have been launched and nobody was left to say so.
CREATE TABLE schedule_audit_outcomes (
    audit_id bigint      PRIMARY KEY REFERENCES schedule_audit,
    at       timestamptz NOT NULL,
    run_id   text,
    error    text,
    CHECK ((run_id IS NULL) <> (error IS NULL))
);
COMMENT ON TABLE schedule_audit_outcomes IS 'What came of a run_now of schedule_audit; append-only.';
COMMENT ON COLUMN schedule_audit_outcomes.error IS 'Why no run was launched.';
COMMENT ON COLUMN schedule_audit.run_id IS 'Of launches before schedule_audit_outcomes had them.';
REVOKE UPDATE, DELETE, TRUNCATE ON schedule_audit_outcomes FROM PUBLIC, qm_writer, qm_reader;

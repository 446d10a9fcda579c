-- How full each session is, and what is counted for ever so that it can be scraped at any time from any process.

-- --- fill by session ---------------------------------------------------------------------------------------------------

CREATE TABLE coverage_fill (
    session     date    PRIMARY KEY,
    expected    integer NOT NULL,
    bars        integer NOT NULL,
    snapshots   integer NOT NULL,
    computed_at timestamptz NOT NULL
);
COMMENT ON TABLE coverage_fill IS 'How many of the tracked instruments have a bar and a recorded row of each session.';
COMMENT ON COLUMN coverage_fill.expected IS
    'Tracked instruments, as of the last look, whose bars had begun by that session and that were not delisted by then.';
COMMENT ON COLUMN coverage_fill.snapshots IS 'Rows of market_analysis_history of the session, each instrument once.';

-- --- counters ----------------------------------------------------------------------------------------------------------

-- Parts of sources' answers that were stored: how many, how many bars of them were new or another version, how long each took.
CREATE TABLE write_batches (
    type     text     NOT NULL,
    provider text     NOT NULL,
    batches  bigint   NOT NULL,
    bars     bigint   NOT NULL,
    buckets  bigint[] NOT NULL,
    sum_ms   double precision NOT NULL,
    PRIMARY KEY (type, provider)
);
COMMENT ON COLUMN write_batches.type IS 'What was stored: bars_1d.';
COMMENT ON COLUMN write_batches.buckets IS 'Batches per bucket of the histogram of durations.';

-- Stretches that should have bars and have none: how often a scan found one where there had been none before.
CREATE TABLE gaps_found (
    interval text   PRIMARY KEY,
    gaps     bigint NOT NULL
);

CREATE TABLE backfill_counts (
    tier  text   NOT NULL,
    event text   NOT NULL CHECK (event IN ('enqueued', 'done', 'failed')),
    jobs  bigint NOT NULL,
    PRIMARY KEY (tier, event)
);
COMMENT ON TABLE backfill_counts IS 'How many jobs of the backfill queue were ever made, and how they ended.';

-- By the database itself, so that whoever queues or ends a job counts it in the same transaction.
CREATE FUNCTION count_backfill_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO backfill_counts AS c (tier, event, jobs)
        SELECT tier, 'enqueued', count(*) FROM changed GROUP BY tier ORDER BY tier
        ON CONFLICT (tier, event) DO UPDATE SET jobs = c.jobs + excluded.jobs;
    ELSE
        INSERT INTO backfill_counts AS c (tier, event, jobs)
        SELECT n.tier, n.state, count(*) FROM changed n JOIN before o USING (job_id)
        WHERE n.state IN ('done', 'failed') AND n.state <> o.state GROUP BY n.tier, n.state ORDER BY n.tier, n.state
        ON CONFLICT (tier, event) DO UPDATE SET jobs = c.jobs + excluded.jobs;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER backfill_jobs_are_counted AFTER INSERT ON backfill_jobs
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_backfill_jobs();
CREATE TRIGGER backfill_jobs_ends_are_counted AFTER UPDATE ON backfill_jobs
    REFERENCING OLD TABLE AS before NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_backfill_jobs();

-- What the queue held before it was counted.
INSERT INTO backfill_counts (tier, event, jobs)
SELECT tier, 'enqueued', count(*) FROM backfill_jobs GROUP BY tier
UNION ALL
SELECT tier, state, count(*) FROM backfill_jobs WHERE state IN ('done', 'failed') GROUP BY tier, state;

-- Runs that ended, by job and how: more of them than `runs` keeps.
CREATE TABLE run_counts (
    job     text   NOT NULL,
    status  text   NOT NULL CHECK (status IN ('success', 'failure', 'canceled')),
    runs    bigint NOT NULL,
    seconds double precision NOT NULL,
    PRIMARY KEY (job, status)
);

CREATE FUNCTION count_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO run_counts AS c (job, status, runs, seconds)
    VALUES (NEW.job, NEW.status, 1, extract(epoch FROM NEW.ended_at - NEW.started_at))
    ON CONFLICT (job, status) DO UPDATE SET runs = c.runs + 1, seconds = c.seconds + excluded.seconds;
    RETURN NULL;
END
$$;
-- A run that was held for dead and then speaks is counted as it was held: counters do not go back.
CREATE TRIGGER runs_are_counted AFTER UPDATE ON runs
    FOR EACH ROW WHEN (OLD.status = 'running' AND NEW.status <> 'running') EXECUTE FUNCTION count_run();

INSERT INTO run_counts (job, status, runs, seconds)
SELECT job, status, count(*), sum(extract(epoch FROM ended_at - started_at)) FROM runs
WHERE status <> 'running' GROUP BY job, status;

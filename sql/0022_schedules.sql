-- Who changed which schedule when, and which daemon has taken which tick.

CREATE TABLE schedule_audit (
    audit_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    actor      text        NOT NULL,
    action     text        NOT NULL CHECK (action IN
                   ('create', 'update', 'delete', 'import', 'pause', 'resume', 'run_now')),
    schedule   text        NOT NULL,
    difference jsonb       NOT NULL DEFAULT '{}',
    run_id     text
);
CREATE INDEX schedule_audit_by_schedule ON schedule_audit (schedule, at);
COMMENT ON TABLE schedule_audit IS 'What people did to schedules, over HTTP and by qm; append-only.';
COMMENT ON COLUMN schedule_audit.difference IS 'Field -> [before, after]; null where there was, or is, no entry.';
REVOKE UPDATE, DELETE, TRUNCATE ON schedule_audit FROM PUBLIC, qm_writer, qm_reader;

CREATE TABLE schedule_claims (
    schedule   text        NOT NULL,
    tick       timestamptz NOT NULL,
    claimed_at timestamptz NOT NULL,
    host       text        NOT NULL,
    pid        integer     NOT NULL,
    evaluation text        NOT NULL,
    PRIMARY KEY (schedule, tick)
);
COMMENT ON TABLE schedule_claims IS
    'Who launches the run of a tick: with two daemons by mistake, one of them. Those of a month ago are removed.';

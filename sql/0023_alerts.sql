-- What is wrong and was told, what is still to be told to whom, and about what people want silence.

CREATE TABLE alert_incidents (
    incident_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cause_key   text        NOT NULL,
    kind        text        NOT NULL CHECK (kind IN ('failed_run', 'failed_check', 'slow_run', 'stale_asset')),
    cause       text        NOT NULL,
    occurrences integer     NOT NULL,
    opened_at   timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL,
    told_at     timestamptz,
    known_from  timestamptz,
    closed_at   timestamptz
);
CREATE UNIQUE INDEX alert_incidents_open ON alert_incidents (cause_key) WHERE closed_at IS NULL;
CREATE INDEX alert_incidents_cause ON alert_incidents (cause_key, incident_id);
COMMENT ON TABLE alert_incidents IS 'A cause of trouble from its first occurrence until everything that it broke works again.';
COMMENT ON COLUMN alert_incidents.cause_key IS 'What makes two occurrences one cause: its text without symbols, numbers, days and ids.';
COMMENT ON COLUMN alert_incidents.told_at IS 'When the newest message about it was, or is, due; null: nobody was told, as when it is muted.';
COMMENT ON COLUMN alert_incidents.known_from IS 'Since, or from, when people know that it is open; null: they do not.';

CREATE TABLE alert_subjects (
    incident_id  bigint      NOT NULL REFERENCES alert_incidents,
    subject      text        NOT NULL,
    broken_at    timestamptz NOT NULL,
    recovered_at timestamptz,
    PRIMARY KEY (incident_id, subject)
);
CREATE INDEX alert_subjects_broken ON alert_subjects (subject) WHERE recovered_at IS NULL;
COMMENT ON COLUMN alert_subjects.subject IS 'What is broken: job:<name>, check:<asset>.<check>, run:<id> or asset:<name>.';

CREATE TABLE alert_outbox (
    message_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    once        text,
    channel     text        NOT NULL,
    address     text,
    message     jsonb       NOT NULL,
    picture     bytea,
    state       text        NOT NULL DEFAULT 'queued'
                CHECK (state IN ('queued', 'delivered', 'refused', 'expired', 'withdrawn')),
    not_before  timestamptz NOT NULL,
    attempts    integer     NOT NULL DEFAULT 0,
    reason      text,
    queued_at   timestamptz NOT NULL,
    finished_at timestamptz,
    CHECK ((state = 'queued') = (finished_at IS NULL)),
    UNIQUE (once, channel)
);
CREATE INDEX alert_outbox_queued ON alert_outbox (channel, message_id) WHERE state = 'queued';
COMMENT ON COLUMN alert_outbox.once IS 'Of messages with the same one each channel gets a single one; null: no such limit.';
COMMENT ON COLUMN alert_outbox.address IS 'Where a channel was named by its address instead of by an alias. A secret: readers do not see it.';
COMMENT ON COLUMN alert_outbox.not_before IS 'Later than queued_at where a cool-down must end first.';
COMMENT ON COLUMN alert_outbox.reason IS 'Why the last attempt failed.';

-- Which incidents a message is about.
CREATE TABLE alert_tellings (
    incident_id bigint NOT NULL REFERENCES alert_incidents,
    message_id  bigint NOT NULL REFERENCES alert_outbox,
    PRIMARY KEY (incident_id, message_id)
);

-- An address lets whoever has it post.
REVOKE SELECT ON alert_outbox FROM PUBLIC, qm_reader;
GRANT SELECT (message_id, once, channel, message, state, not_before, attempts, reason, queued_at, finished_at)
    ON alert_outbox TO qm_reader;

CREATE TABLE alert_channels (
    channel      text        PRIMARY KEY,
    paused_until timestamptz NOT NULL,
    failures     integer     NOT NULL DEFAULT 0,
    reason       text,
    delivered_at timestamptz,
    worker       text,
    leased_until timestamptz,
    CHECK ((worker IS NULL) = (leased_until IS NULL))
);
COMMENT ON COLUMN alert_channels.failures IS 'Failed attempts since the last message that was taken; each makes the pause longer.';
COMMENT ON COLUMN alert_channels.worker IS 'Who is sending: one process at a time, whose turn ends with its lease.';

CREATE TABLE alert_mutes (
    mute_id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    what      text        NOT NULL CHECK (what <> ''),
    until     timestamptz,
    note      text        NOT NULL,
    muted_by  text        NOT NULL,
    muted_at  timestamptz NOT NULL,
    lifted_at timestamptz
);
COMMENT ON COLUMN alert_mutes.what IS 'A subject, or the beginning of some up to a *: job:restate, check:daily_bars.*, *.';
COMMENT ON COLUMN alert_mutes.until IS 'Null: until somebody lifts it.';

-- The sensors that this replaces: nobody is to wait for their signs of life.
DELETE FROM heartbeats WHERE name IN ('alert_on_failed_run', 'alert_on_failed_check');

-- Why a bar is missing, what was accepted as missing, how far each vendor's bars reach without a hole, and what is still to
-- be fetched.

-- --- what may be expected ----------------------------------------------------------------------------------------------

CREATE TABLE exchange_days (
    calendar text    NOT NULL,
    day      date    NOT NULL,
    kind     text    NOT NULL CHECK (kind IN ('holiday', 'half_day')),
    minutes  integer NOT NULL CHECK ((kind = 'holiday') = (minutes = 0)),
    PRIMARY KEY (calendar, day)
);
COMMENT ON TABLE exchange_days IS 'Weekdays on which an exchange is closed, and sessions that are shorter than usual.';
COMMENT ON COLUMN exchange_days.minutes IS 'From the open to the close: a half day of 210 has 42 bars of five minutes.';

-- What nobody need ask for: a halt, an exchange that was down, a hole that is known. Recorded once, by a person.
CREATE TABLE bar_exceptions (
    exception_id  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id integer     REFERENCES instruments,
    calendar      text        NOT NULL,
    interval      text        NOT NULL DEFAULT '1d',
    first_session date        NOT NULL,
    last_session  date        NOT NULL,
    reason        text        NOT NULL CHECK (reason IN ('halted', 'outage', 'vendor_hole')),
    note          text        NOT NULL CHECK (note <> ''),
    accepted_by   text        NOT NULL CHECK (accepted_by <> ''),
    accepted_at   timestamptz NOT NULL,
    withdrawn_by  text,
    withdrawn_at  timestamptz,
    CHECK (last_session >= first_session),
    CHECK ((withdrawn_at IS NULL) = (withdrawn_by IS NULL))
);
CREATE UNIQUE INDEX bar_exceptions_once
    ON bar_exceptions (instrument_id, calendar, interval, first_session, last_session) NULLS NOT DISTINCT
    WHERE withdrawn_at IS NULL;
COMMENT ON COLUMN bar_exceptions.instrument_id IS 'Null: every instrument of the calendar, as when the exchange was down.';
REVOKE DELETE, TRUNCATE ON bar_exceptions FROM PUBLIC, qm_writer, qm_reader;

-- The sessions of an instrument about which a source has answered: what is missing among them, it did not have.
CREATE TABLE answered_sessions (
    instrument_id integer     NOT NULL REFERENCES instruments,
    interval      text        NOT NULL,
    answered_from date        NOT NULL,
    answered_to   date        NOT NULL,
    source        text        NOT NULL,
    answered_at   timestamptz NOT NULL,
    PRIMARY KEY (instrument_id, interval),
    CHECK (answered_to >= answered_from)
);

-- --- what is missing ---------------------------------------------------------------------------------------------------

-- Stretches of consecutive sessions without a bar, as of the last scan; a session that is not in one has its bar.
CREATE TABLE bar_gaps (
    instrument_id integer     NOT NULL REFERENCES instruments,
    interval      text        NOT NULL,
    first_session date        NOT NULL,
    last_session  date        NOT NULL,
    sessions      integer     NOT NULL CHECK (sessions > 0),
    reason        text        NOT NULL CHECK (reason IN (
        'not_listed', 'delisted', 'halted', 'outage', 'vendor_hole', 'rejected', 'not_fetched'
    )),
    accepted      boolean     NOT NULL,
    found_at      timestamptz NOT NULL,
    PRIMARY KEY (instrument_id, interval, first_session),
    CHECK (last_session >= first_session)
);
CREATE INDEX bar_gaps_reason ON bar_gaps (reason, interval) WHERE reason NOT IN ('not_listed', 'delisted');
COMMENT ON COLUMN bar_gaps.accepted IS 'Whether somebody recorded it in bar_exceptions: it is not asked for again.';

CREATE VIEW missing_bars AS
SELECT s.symbol, g.interval, g.first_session, g.last_session, g.sessions, g.reason, g.accepted, g.found_at
FROM bar_gaps g
JOIN instrument_symbols s ON s.instrument_id = g.instrument_id AND s.valid_to IS NULL;

CREATE FUNCTION why_no_bar(of_symbol text, of_day date) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN EXISTS (SELECT FROM price_data_1d p WHERE p.instrument_id = i.instrument_id AND p.session = of_day)
            THEN 'stored'
        WHEN i.calendar <> '24/7' AND extract(isodow FROM of_day) > 5 THEN 'weekend'
        WHEN EXISTS (SELECT FROM exchange_days d WHERE d.calendar = i.calendar AND d.day = of_day AND d.kind = 'holiday')
            THEN 'holiday'
        ELSE coalesce((
            SELECT g.reason FROM bar_gaps g
            WHERE g.instrument_id = i.instrument_id AND g.interval = '1d'
              AND of_day BETWEEN g.first_session AND g.last_session
        ), 'not scanned')
    END
    FROM instrument_symbols s JOIN instruments i USING (instrument_id)
    WHERE s.symbol = upper(of_symbol) AND s.valid_to IS NULL
$$;
COMMENT ON FUNCTION why_no_bar IS
    'Why a symbol has no daily bar of a day: stored (it has one), weekend, holiday, a reason of bar_gaps, or not scanned.';

-- --- how far it reaches ------------------------------------------------------------------------------------------------

ALTER TABLE ingestion_cursor ADD COLUMN contiguous_to date;
COMMENT ON COLUMN ingestion_cursor.contiguous_to IS
    'The last session such that from first_bar on every one has its bar, or was accepted as missing; as of the last scan.';

-- --- what is to be fetched ---------------------------------------------------------------------------------------------

CREATE TABLE backfill_jobs (
    job_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id integer     NOT NULL REFERENCES instruments,
    interval      text        NOT NULL DEFAULT '1d',
    first_session date        NOT NULL,
    last_session  date        NOT NULL,
    tier          text        NOT NULL CHECK (tier IN ('T0', 'T1', 'T2')),
    priority      integer     NOT NULL DEFAULT 0,
    origin        text        NOT NULL CHECK (origin IN ('gaps', 'request')),
    state         text        NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed')),
    attempts      integer     NOT NULL DEFAULT 0,
    not_before    timestamptz NOT NULL,
    worker        text,
    leased_until  timestamptz,
    reason        text,
    queued_at     timestamptz NOT NULL,
    started_at    timestamptz,
    finished_at   timestamptz,
    CHECK (last_session >= first_session),
    CHECK ((state = 'running') = (leased_until IS NOT NULL AND worker IS NOT NULL)),
    CHECK ((state IN ('done', 'failed')) = (finished_at IS NOT NULL)),
    CHECK (state <> 'failed' OR reason IS NOT NULL)
);
CREATE INDEX backfill_jobs_open ON backfill_jobs (tier, priority DESC, queued_at, job_id)
    WHERE state IN ('queued', 'running');
CREATE INDEX backfill_jobs_instrument ON backfill_jobs (instrument_id, interval) WHERE state IN ('queued', 'running');
COMMENT ON COLUMN backfill_jobs.priority IS 'The greater is taken first within a tier; what a person asked for has 10.';
COMMENT ON COLUMN backfill_jobs.leased_until IS 'A running job whose worker does not prolong this is taken up by another.';
COMMENT ON COLUMN backfill_jobs.reason IS 'Why the last attempt failed; of a failed job why the last one did.';

CREATE VIEW backfill_queue AS
SELECT s.symbol, j.*
FROM backfill_jobs j
JOIN instrument_symbols s ON s.instrument_id = j.instrument_id AND s.valid_to IS NULL;

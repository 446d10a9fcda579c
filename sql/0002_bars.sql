-- Bars as today's best version, every version that one superseded, corporate actions, and the log of what was refused.

-- Where a stored bar came from and what its prices were adjusted for: few rows, one small number per bar.
CREATE TABLE bar_sources (
    source_id  smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vendor     text NOT NULL,
    basis      text NOT NULL CHECK (basis IN ('raw', 'split', 'split_dividend')),
    basis_date date,
    UNIQUE NULLS NOT DISTINCT (vendor, basis, basis_date),
    CHECK ((basis = 'raw') = (basis_date IS NULL))
);

-- One partition per interval, because a daily bar is keyed by its session and an intraday bar by its opening instant.
CREATE TABLE price_data (
    instrument_id  integer          NOT NULL,
    interval       text             NOT NULL,
    session        date             NOT NULL,
    opened_at      timestamptz,
    open           double precision NOT NULL,
    high           double precision NOT NULL,
    low            double precision NOT NULL,
    close          double precision NOT NULL,
    volume         double precision NOT NULL,
    quality_score  double precision NOT NULL,
    validated      boolean          NOT NULL,
    gap_detected   boolean          NOT NULL,
    volume_anomaly boolean          NOT NULL,
    source_id      smallint         NOT NULL, -- of bar_sources; no foreign key: its trigger would cost each row 2 us
    version        smallint         NOT NULL DEFAULT 1,
    as_of          timestamptz      NOT NULL
) PARTITION BY LIST (interval);
COMMENT ON COLUMN price_data.as_of IS 'When this version was learned.';
COMMENT ON COLUMN price_data.version IS '1 for the first version of a bar; its predecessors lie in price_data_revisions.';

CREATE TABLE price_data_1d PARTITION OF price_data (PRIMARY KEY (instrument_id, session)) FOR VALUES IN ('1d');
CREATE INDEX price_data_1d_session ON price_data_1d (session, instrument_id);

CREATE TABLE price_data_revisions (
    LIKE price_data,
    superseded_at timestamptz NOT NULL,
    -- what took the version's place
    reason        text NOT NULL
);
ALTER TABLE price_data_revisions ADD CONSTRAINT price_data_revisions_key
    UNIQUE NULLS NOT DISTINCT (instrument_id, interval, session, opened_at, version);

CREATE VIEW price_data_versions AS
SELECT p.*, NULL::timestamptz AS superseded_at, NULL::text AS reason FROM price_data p
UNION ALL
SELECT * FROM price_data_revisions;
COMMENT ON VIEW price_data_versions IS
    'Every version of every bar; known at T is as_of <= T and (superseded_at is null or superseded_at > T).';

CREATE TABLE corporate_actions (
    action_id     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id integer NOT NULL REFERENCES instruments,
    kind          text    NOT NULL CHECK (kind IN ('split', 'cash_dividend')),
    ex_date       date    NOT NULL,
    numerator     numeric,
    denominator   numeric,
    amount        numeric,
    currency      text,
    vendor        text    NOT NULL,
    as_of         timestamptz NOT NULL,
    UNIQUE NULLS NOT DISTINCT (instrument_id, kind, ex_date, vendor, numerator, denominator, amount, currency, as_of),
    CHECK ((kind = 'split') = (numerator IS NOT NULL AND denominator IS NOT NULL AND amount IS NULL)),
    CHECK (numerator > 0 AND denominator > 0 OR kind <> 'split'),
    CHECK (kind = 'split' OR amount > 0 AND currency IS NOT NULL)
);

-- The split in force for a day is the one learned last; what stood there before stays readable in the table.
CREATE VIEW splits_in_force AS
SELECT DISTINCT ON (instrument_id, ex_date) instrument_id, ex_date, numerator, denominator, vendor, as_of
FROM corporate_actions
WHERE kind = 'split'
ORDER BY instrument_id, ex_date, as_of DESC, action_id DESC;

-- Rows that were refused, with the reason and the row itself. The same refusal is kept once.
CREATE TABLE validation_log (
    log_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vendor        text   NOT NULL,
    symbol        text,
    instrument_id integer REFERENCES instruments,
    interval      text   NOT NULL,
    session       date,
    reason_codes  text[] NOT NULL,
    detail        text,
    payload       jsonb  NOT NULL,
    fingerprint   bytea  NOT NULL UNIQUE,
    logged_at     timestamptz NOT NULL
);
CREATE INDEX validation_log_symbol ON validation_log (symbol, session);

-- Where an instrument's life begins, as far as a vendor knows: it was asked from asked_from on, and the first bar that it had
-- is that of first_bar. What lies between is not asked for again; a hole behind first_bar is.
CREATE TABLE ingestion_cursor (
    instrument_id integer NOT NULL REFERENCES instruments,
    interval      text    NOT NULL,
    vendor        text    NOT NULL,
    asked_from    date    NOT NULL,
    first_bar     date    NOT NULL,
    updated_at    timestamptz NOT NULL,
    PRIMARY KEY (instrument_id, interval, vendor)
);

-- Bars under their names, for people.
CREATE VIEW bars AS
SELECT s.symbol, p.interval, p.session, p.opened_at, p.open, p.high, p.low, p.close, p.volume, p.quality_score,
       p.validated, p.gap_detected, p.volume_anomaly, b.vendor, b.basis, b.basis_date, p.version, p.as_of
FROM price_data p
JOIN instrument_symbols s ON s.instrument_id = p.instrument_id AND s.valid_to IS NULL
JOIN bar_sources b USING (source_id);

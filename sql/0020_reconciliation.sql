-- What a second vendor says of stored bars: which were asked about, both candidates, the fields that differ, and the verdict.

CREATE TABLE bar_comparisons (
    comparison_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id     integer     NOT NULL REFERENCES instruments,
    interval          text        NOT NULL,
    session           date        NOT NULL,
    -- the stored bar, in the version that was compared
    source_id         smallint    NOT NULL, -- of bar_sources
    version           smallint    NOT NULL,
    -- the other one as it came, NULL where that vendor has none of this session
    second_vendor     text        NOT NULL,
    second_basis      text        NOT NULL,
    second_basis_date date,
    second_open       double precision,
    second_high       double precision,
    second_low        double precision,
    second_close      double precision,
    second_volume     double precision,
    asked_because     text        NOT NULL CHECK (asked_because IN ('sample', 'flagged', 'third_opinion')),
    cause             text        NOT NULL,
    verdict           text        NOT NULL CHECK (verdict IN ('agree', 'convention', 'stored', 'second', 'open', 'absent')),
    -- the vendors against which it counts
    against           text[]      NOT NULL DEFAULT '{}',
    run_session       date        NOT NULL,
    compared_at       timestamptz NOT NULL,
    CHECK ((verdict = 'absent') = (second_close IS NULL))
);
CREATE INDEX bar_comparisons_bar ON bar_comparisons (instrument_id, session);
CREATE INDEX bar_comparisons_run ON bar_comparisons (run_session);
COMMENT ON COLUMN bar_comparisons.verdict IS
    'agree: within the tolerances. convention: each is right in its own way. stored, second: whose bar stands. open: a person'
    ' decides. absent: the second vendor has no such bar.';
COMMENT ON COLUMN bar_comparisons.run_session IS 'The session of the night in which it was asked.';

CREATE TABLE bar_differences (
    comparison_id bigint NOT NULL REFERENCES bar_comparisons,
    field         text   NOT NULL CHECK (field IN ('open', 'high', 'low', 'close', 'volume')),
    stored        double precision NOT NULL,
    second        double precision NOT NULL,
    difference    double precision NOT NULL,
    tolerance     double precision NOT NULL,
    PRIMARY KEY (comparison_id, field)
);
COMMENT ON COLUMN bar_differences.second IS 'What the second vendor says, in the share unit of the stored bar.';
COMMENT ON COLUMN bar_differences.difference IS
    'Prices: second / stored - 1. Volumes: the difference by the larger of the two.';
REVOKE UPDATE, DELETE, TRUNCATE ON bar_comparisons, bar_differences FROM PUBLIC, qm_writer, qm_reader;

CREATE VIEW reconciliation AS
SELECT s.symbol, c.interval, c.session, d.field, b.vendor, d.stored, c.second_vendor, d.second, d.difference, d.tolerance,
       c.cause, c.verdict, c.against, c.asked_because, c.version, c.run_session, c.compared_at, c.instrument_id,
       c.comparison_id
FROM bar_comparisons c
JOIN bar_differences d USING (comparison_id)
JOIN bar_sources b USING (source_id)
LEFT JOIN instrument_symbols s ON s.instrument_id = c.instrument_id AND s.valid_to IS NULL;
COMMENT ON VIEW reconciliation IS 'Fields in which two vendors differ beyond a tolerance, both candidates beside each other.';

-- How often a vendor's bars were contradicted, by session: part of the completeness of its health score.
ALTER TABLE provider_health ADD COLUMN compared jsonb NOT NULL DEFAULT '[]';
COMMENT ON COLUMN provider_health.compared IS
    '[session, bars that another vendor confirmed, bars compared] of the last 20 nights.';

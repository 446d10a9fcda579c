-- Bars that were repaired or could be, with what came, what took its place, why, and how surely; and what people decided.

CREATE TABLE bar_repairs (
    repair_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id   integer NOT NULL REFERENCES instruments,
    interval        text    NOT NULL,
    session         date    NOT NULL,
    rule            text    NOT NULL,
    confidence      double precision NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    -- whether it was carried out when it was found
    applied         boolean NOT NULL,
    source_id       smallint NOT NULL, -- of bar_sources
    -- NULL where no number came
    original_open   double precision,
    original_high   double precision,
    original_low    double precision,
    original_close  double precision,
    original_volume double precision,
    -- all NULL where the bar was withheld
    repaired_open   double precision,
    repaired_high   double precision,
    repaired_low    double precision,
    repaired_close  double precision,
    repaired_volume double precision,
    evidence        jsonb NOT NULL,
    fingerprint     bytea NOT NULL UNIQUE,
    found_at        timestamptz NOT NULL
);
CREATE INDEX bar_repairs_bar ON bar_repairs (instrument_id, session);
COMMENT ON COLUMN bar_repairs.evidence IS 'What the repair rests on, by rule; of text also the text itself.';

-- The newest decision on a repair holds: also for the same fault of the same bar when it comes again.
CREATE TABLE bar_repair_decisions (
    decision_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repair_id   bigint NOT NULL REFERENCES bar_repairs,
    decision    text   NOT NULL CHECK (decision IN ('undo', 'apply')),
    decided_at  timestamptz NOT NULL
);
CREATE INDEX bar_repair_decisions_repair ON bar_repair_decisions (repair_id, decision_id);
REVOKE UPDATE, DELETE, TRUNCATE ON bar_repairs, bar_repair_decisions FROM PUBLIC, qm_writer, qm_reader;

CREATE VIEW repairs AS
SELECT r.repair_id, s.symbol, r.interval, r.session, r.rule, r.confidence,
       CASE d.decision WHEN 'undo' THEN 'undone' WHEN 'apply' THEN 'applied'
            ELSE CASE WHEN r.applied THEN 'applied' ELSE 'suggested' END END AS state,
       r.repaired_close IS NULL AS withheld,
       b.vendor, b.basis, b.basis_date,
       r.original_open, r.original_high, r.original_low, r.original_close, r.original_volume,
       r.repaired_open, r.repaired_high, r.repaired_low, r.repaired_close, r.repaired_volume,
       r.evidence, r.found_at, d.decided_at, r.instrument_id
FROM bar_repairs r
JOIN bar_sources b USING (source_id)
LEFT JOIN instrument_symbols s ON s.instrument_id = r.instrument_id AND s.valid_to IS NULL
LEFT JOIN LATERAL (
    SELECT decision, decided_at FROM bar_repair_decisions WHERE repair_id = r.repair_id ORDER BY decision_id DESC LIMIT 1
) AS d ON true;
COMMENT ON VIEW repairs IS
    'Repairs under their symbols: state is applied, suggested (too unsure, nothing was changed) or undone.';

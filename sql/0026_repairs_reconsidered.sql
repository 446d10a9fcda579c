-- A repair rests on the splits that were known when it was made. When others come to count, it is looked at anew: that is
-- the platform's doing and no decision of a person, which would bind it.
ALTER TABLE bar_repair_decisions DROP CONSTRAINT bar_repair_decisions_decision_check;
ALTER TABLE bar_repair_decisions ADD CONSTRAINT bar_repair_decisions_decision_check
    CHECK (decision IN ('undo', 'apply', 'set_aside', 'found_again'));
COMMENT ON COLUMN bar_repair_decisions.decision IS
    'undo and apply are people''s; set_aside: other splits count now and the fault is none; found_again: it is one again.';

CREATE OR REPLACE VIEW repairs AS
SELECT r.repair_id, s.symbol, r.interval, r.session, r.rule, r.confidence,
       CASE WHEN d.decision IN ('undo', 'set_aside') THEN 'undone'
            WHEN d.decision IN ('apply', 'found_again') OR r.applied THEN 'applied' ELSE 'suggested' END AS state,
       r.repaired_close IS NULL AS withheld,
       b.vendor, b.basis, b.basis_date,
       r.original_open, r.original_high, r.original_low, r.original_close, r.original_volume,
       r.repaired_open, r.repaired_high, r.repaired_low, r.repaired_close, r.repaired_volume,
       r.evidence, r.found_at, d.decided_at, r.instrument_id,
       coalesce(d.decision IN ('undo', 'apply'), false) AS by_hand
FROM bar_repairs r
JOIN bar_sources b USING (source_id)
LEFT JOIN instrument_symbols s ON s.instrument_id = r.instrument_id AND s.valid_to IS NULL
LEFT JOIN LATERAL (
    SELECT decision, decided_at FROM bar_repair_decisions WHERE repair_id = r.repair_id ORDER BY decision_id DESC LIMIT 1
) AS d ON true;

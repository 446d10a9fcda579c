-- Point in time: what was known at any moment, why each version of a bar came, and from which bars a recorded row was
-- computed.

-- A bar of a session that has not closed, plus grace. It is stored with a score of 0, and so is used for nothing.
ALTER TABLE bar_sources ADD COLUMN provisional boolean NOT NULL DEFAULT false;
ALTER TABLE bar_sources DROP CONSTRAINT bar_sources_vendor_basis_basis_date_key;
ALTER TABLE bar_sources ADD CONSTRAINT bar_sources_key
    UNIQUE NULLS NOT DISTINCT (vendor, basis, basis_date, provisional);
-- Few or none: whoever asks which sessions are stored leaves these out.
CREATE INDEX price_data_1d_unproved ON price_data_1d (instrument_id, session) WHERE quality_score = 0;

COMMENT ON COLUMN price_data_revisions.reason IS
    'Why the next version took this one''s place: fetched, corrected, rescored, closed, or what a repair says.';
CREATE INDEX price_data_revisions_session ON price_data_revisions (session, instrument_id);

-- The newest moment at which something was learned. What is learned later bears no earlier moment, whatever the clock of
-- its writer says: else a read as known at a moment between would change.
CREATE TABLE knowledge_clock (
    family text PRIMARY KEY CHECK (family IN ('bars', 'history')),
    as_of  timestamptz NOT NULL
);
CREATE FUNCTION learned_at(of_family text, at timestamptz) RETURNS timestamptz LANGUAGE sql AS $$
    INSERT INTO knowledge_clock AS k (family, as_of) VALUES (of_family, at)
    ON CONFLICT (family) DO UPDATE SET as_of = greatest(k.as_of, excluded.as_of)
    RETURNING as_of
$$;
COMMENT ON FUNCTION learned_at IS 'The moment that what is written in this transaction bears: the given one, or the newest before it.';

-- Every version of every bar, the current ones among them. A version is known from as_of on, and no more from
-- superseded_at on.
DROP VIEW price_data_versions;
CREATE VIEW price_data_versions AS
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
           ELSE (
               SELECT e.reason FROM price_data_revisions e
               WHERE e.instrument_id = v.instrument_id AND e.interval = v.interval AND e.session = v.session
                 AND e.opened_at IS NOT DISTINCT FROM v.opened_at AND e.version = v.version - 1
           )
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
    'provisional: before close and grace; final: as first proved; revised: with other numbers than an earlier final version.';
COMMENT ON COLUMN price_data_versions.reason IS 'Why this version came: first, or why it took its predecessor''s place.';

-- The functions below are single statements, so that a condition on what they return reaches the indexes.
CREATE FUNCTION price_data_known_at(at timestamptz) RETURNS SETOF price_data_versions LANGUAGE sql STABLE AS $$
    SELECT * FROM price_data_versions WHERE as_of <= at AND (superseded_at IS NULL OR superseded_at > at)
$$;
COMMENT ON FUNCTION price_data_known_at IS 'The bars as known at a moment, one version of each.';

CREATE FUNCTION bars_known_at(at timestamptz) RETURNS TABLE (
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
    WHERE p.as_of <= at AND (p.superseded_at IS NULL OR p.superseded_at > at)
$$;
COMMENT ON FUNCTION bars_known_at IS 'The bars as known at a moment, under the names that their instruments bear now.';

CREATE FUNCTION actions_known_at(at timestamptz) RETURNS SETOF corporate_actions LANGUAGE sql STABLE AS $$
    SELECT * FROM corporate_actions WHERE as_of <= at
$$;

-- From which bars a row was computed; see the module indicators.input_hash, which also says what equal hashes mean.
ALTER TABLE market_analysis_cache ADD COLUMN inputs_hash bigint;
ALTER TABLE market_analysis_history ADD COLUMN inputs_hash bigint;
COMMENT ON COLUMN market_analysis_history.inputs_hash IS
    'Of the instrument''s own bars up to the session, as the indicators took them; null in rows from before it was kept.';

CREATE FUNCTION history_known_at(at timestamptz) RETURNS SETOF market_analysis_history LANGUAGE sql STABLE AS $$
    SELECT DISTINCT ON (session, instrument_id, analysis_type) * FROM market_analysis_history WHERE as_of <= at
    ORDER BY session, instrument_id, analysis_type, revision DESC
$$;
COMMENT ON FUNCTION history_known_at IS 'The recorded rows in the revision that was the newest at a moment.';

CREATE FUNCTION snapshots_known_at(at timestamptz) RETURNS SETOF market_analysis_history LANGUAGE sql STABLE AS $$
    SELECT newest.* FROM instruments i CROSS JOIN LATERAL (
        SELECT * FROM market_analysis_history h
        WHERE h.instrument_id = i.instrument_id AND h.as_of <= at AND h.analysis_type = 'technical'
        ORDER BY h.session DESC, h.revision DESC LIMIT 1
    ) AS newest
$$;
COMMENT ON FUNCTION snapshots_known_at IS 'Of each instrument the newest session that had been recorded at a moment.';

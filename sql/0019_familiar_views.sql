-- How sound what is stored is, by symbol and by vendor; and bars under the names and columns that other systems gave them.

-- --- how sound ---------------------------------------------------------------------------------------------------------

CREATE VIEW symbol_quality AS
SELECT s.symbol, p.interval, p.bars, p.validated, p.flagged, p.excluded,
       p.validated::double precision / p.bars AS validated_share,
       p.mean_score, p.lowest_score, p.gaps_flagged, p.volume_anomalies, p.revised, coalesce(v.refused, 0) AS refused,
       p.instrument_id
FROM instrument_symbols s
JOIN LATERAL (
    SELECT p.instrument_id, p.interval, count(*) AS bars,
           count(*) FILTER (WHERE validated) AS validated,
           count(*) FILTER (WHERE NOT validated AND quality_score >= 0.5) AS flagged,
           count(*) FILTER (WHERE quality_score < 0.5) AS excluded,
           avg(quality_score) AS mean_score, min(quality_score) AS lowest_score,
           count(*) FILTER (WHERE gap_detected) AS gaps_flagged,
           count(*) FILTER (WHERE volume_anomaly) AS volume_anomalies,
           count(*) FILTER (WHERE version > 1) AS revised
    FROM price_data p
    WHERE p.instrument_id = s.instrument_id
    GROUP BY p.instrument_id, p.interval
) AS p ON true
LEFT JOIN (
    SELECT instrument_id, interval, count(*) AS refused FROM validation_log GROUP BY instrument_id, interval
) AS v ON v.instrument_id = p.instrument_id AND v.interval = p.interval
WHERE s.valid_to IS NULL;
COMMENT ON VIEW symbol_quality IS
    'The stored bars of each symbol by their score: validated, flagged (used, but not validated), excluded (below 0.5).';
COMMENT ON COLUMN symbol_quality.revised IS 'Bars of which an earlier version lies in price_data_revisions.';
COMMENT ON COLUMN symbol_quality.refused IS 'Rows in validation_log: they broke a rule and are no bars.';

CREATE VIEW vendor_quality AS
SELECT b.vendor, p.interval, count(*) AS bars,
       count(*) FILTER (WHERE p.validated) AS validated,
       count(*) FILTER (WHERE NOT p.validated AND p.quality_score >= 0.5) AS flagged,
       count(*) FILTER (WHERE p.quality_score < 0.5) AS excluded,
       count(*) FILTER (WHERE p.validated)::double precision / count(*) AS validated_share,
       avg(p.quality_score) AS mean_score,
       count(*) FILTER (WHERE p.gap_detected) AS gaps_flagged,
       count(*) FILTER (WHERE p.volume_anomaly) AS volume_anomalies,
       (SELECT count(*) FROM validation_log v WHERE v.vendor = b.vendor AND v.interval = p.interval) AS refused
FROM price_data p JOIN bar_sources b USING (source_id)
GROUP BY b.vendor, p.interval;
COMMENT ON VIEW vendor_quality IS 'The stored bars of each vendor, as in symbol_quality.';

CREATE VIEW symbol_status AS
WITH RECURSIVE stored AS (
    -- One step along the index per session, instead of a pass over every bar.
    (SELECT session FROM price_data_1d ORDER BY session LIMIT 1)
    UNION ALL
    SELECT (SELECT p.session FROM price_data_1d p WHERE p.session > s.session ORDER BY p.session LIMIT 1)
    FROM stored s WHERE s.session IS NOT NULL
), days AS MATERIALIZED (
    SELECT c.calendar, s.session, row_number() OVER (PARTITION BY c.calendar ORDER BY s.session) AS place
    FROM (SELECT DISTINCT calendar FROM instruments WHERE calendar <> '24/7') AS c
    CROSS JOIN stored s
    CROSS JOIN LATERAL (
        SELECT FROM price_data_1d p JOIN instruments i USING (instrument_id)
        WHERE p.session = s.session AND i.calendar = c.calendar AND p.quality_score > 0 LIMIT 1
    ) AS was_open
)
SELECT n.symbol, i.kind, u.tier, coalesce(u.active, false) AS tracked,
       p.first_bar, p.last_bar, p.bars, p.validated::double precision / nullif(p.bars, 0) AS validated_share,
       CASE i.calendar WHEN '24/7' THEN p.last_proved - p.first_proved ELSE until.place - since.place END
       + 1 - p.proved AS gaps,
       p.last_fetch, newest.vendor, i.listed_on, i.delisted_on, instrument_id
FROM instruments i
JOIN (
    SELECT DISTINCT ON (instrument_id) instrument_id, symbol FROM instrument_symbols
    ORDER BY instrument_id, valid_to DESC NULLS FIRST, valid_from DESC
) AS n USING (instrument_id)
LEFT JOIN symbol_universe u USING (instrument_id)
CROSS JOIN LATERAL (
    SELECT min(session) AS first_bar, max(session) AS last_bar, count(*) AS bars,
           count(*) FILTER (WHERE validated) AS validated, max(as_of) AS last_fetch,
           min(session) FILTER (WHERE quality_score > 0) AS first_proved,
           max(session) FILTER (WHERE quality_score > 0) AS last_proved,
           count(*) FILTER (WHERE quality_score > 0) AS proved
    FROM price_data_1d p WHERE p.instrument_id = i.instrument_id
) AS p
LEFT JOIN days since ON since.calendar = i.calendar AND since.session = p.first_proved
LEFT JOIN days until ON until.calendar = i.calendar AND until.session = p.last_proved
LEFT JOIN LATERAL (
    SELECT b.vendor FROM price_data_1d q JOIN bar_sources b USING (source_id)
    WHERE q.instrument_id = i.instrument_id AND q.session = p.last_bar
) AS newest ON true;
COMMENT ON VIEW symbol_status IS
    'Daily bars of every instrument under the last name that it bore; of one name there may be several, told by delisted_on.';
COMMENT ON COLUMN symbol_status.gaps IS
    'Days between its first and last bar on which another instrument of its exchange has a bar, or any day of 24/7, and it'
    ' has none.';
COMMENT ON COLUMN symbol_status.last_fetch IS 'When the newest of what is stored was learned; what came again equal is not new.';
COMMENT ON COLUMN symbol_status.vendor IS 'Who gave the last bar.';

-- --- bars under other names --------------------------------------------------------------------------------------------

-- A daily bar has no time of day: where these views show a time, it stands at 00:00 UTC of its session's date.

CREATE VIEW candles_intraday AS
SELECT s.symbol, p.interval, p.opened_at AS ts, p.open, p.high, p.low, p.close, p.volume,
       p.vendor AS provider, p.status, p.as_of, p.session
FROM price_data_versions p
JOIN instrument_symbols s ON s.instrument_id = p.instrument_id AND s.valid_to IS NULL
WHERE p.superseded_at IS NULL AND p.interval <> '1d';
COMMENT ON VIEW candles_intraday IS 'Bars shorter than a day, each in its current version; ts is when one opens.';

CREATE VIEW market_data AS
SELECT symbol, coalesce(opened_at, session::timestamp AT TIME ZONE 'UTC') AS time, interval AS timeframe,
       open, high, low, close, volume, vendor AS source, quality_score, validated, gap_detected, volume_anomaly,
       as_of AS fetched_at, session
FROM bars;
COMMENT ON VIEW market_data IS 'The view bars; a daily bar''s time is 00:00 UTC of its session''s date.';

CREATE VIEW financial_time_series AS
SELECT coalesce(b.opened_at, b.session::timestamp AT TIME ZONE 'UTC') AS time, b.symbol, b.close AS price,
       b.open, b.high, b.low, b.close, b.volume, b.interval, b.vendor AS source, b.session
FROM bars b
WHERE b.quality_score >= 0.5;
COMMENT ON VIEW financial_time_series IS
    'Bars of a score of 0.5 or more, as stored; price is the close, a daily bar''s time 00:00 UTC of its session''s date.';

-- Ticks of schedules and sensors that fail are a trouble of their own.

ALTER TABLE alert_incidents DROP CONSTRAINT alert_incidents_kind_check;
ALTER TABLE alert_incidents ADD CONSTRAINT alert_incidents_kind_check
    CHECK (kind IN ('failed_run', 'failed_check', 'slow_run', 'stale_asset', 'failing_tick'));

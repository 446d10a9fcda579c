-- Coverage as it was at each session, and the signs of life of what runs unattended.
CREATE TABLE coverage_snapshots (
    session       date    PRIMARY KEY,
    status        text    NOT NULL CHECK (status IN ('ok', 'degraded')),
    tracked_count integer NOT NULL,
    expected      integer NOT NULL,
    fresh         integer NOT NULL,
    report        jsonb   NOT NULL,
    computed_at   timestamptz NOT NULL
);

CREATE TABLE heartbeats (
    name    text PRIMARY KEY,
    beat_at timestamptz NOT NULL,
    detail  jsonb NOT NULL DEFAULT '{}'
);

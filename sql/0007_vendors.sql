-- What is known about vendors: calls counted against their limits, health, circuits, what each run asked of whom; and
-- what vendors say about companies.

-- --- budgets ----------------------------------------------------------------------------------------------------------

-- What holds for a vendor at the moment. The row is also the lock that every charge to the vendor takes.
CREATE TABLE provider_budgets (
    vendor          text PRIMARY KEY,
    scale           double precision NOT NULL DEFAULT 1 CHECK (scale > 0 AND scale <= 1),
    scaled_at       timestamptz,
    blocked_until   timestamptz,
    exhausted_until timestamptz
);
COMMENT ON COLUMN provider_budgets.scale IS
    'Share of the limit per minute that was left at scaled_at, after a 429; it doubles every 10 minutes since, up to 1.';
COMMENT ON COLUMN provider_budgets.blocked_until IS 'Nothing is leased before: the vendor asked for a pause.';
COMMENT ON COLUMN provider_budgets.exhausted_until IS
    'Nothing is leased before: the vendor said that its allowance is used up.';

-- Calls charged to buckets of time since 1970: 0.1 s long for the limit per second, 2 s for the one per minute. Buckets
-- that no window touches any more are removed by the next lease.
CREATE TABLE provider_usage (
    vendor text    NOT NULL,
    span   text    NOT NULL CHECK (span IN ('second', 'minute')),
    bucket bigint  NOT NULL,
    used   integer NOT NULL CHECK (used >= 0),
    PRIMARY KEY (vendor, span, bucket)
);

CREATE TABLE provider_days (
    vendor text   NOT NULL,
    day    date   NOT NULL, -- in UTC
    used   bigint NOT NULL CHECK (used >= 0),
    PRIMARY KEY (vendor, day)
);

-- The budget's row, locked until the transaction ends.
CREATE FUNCTION lock_provider_budget(of_vendor text) RETURNS provider_budgets LANGUAGE plpgsql AS $$
DECLARE
    budget provider_budgets;
BEGIN
    LOOP
        SELECT * INTO budget FROM provider_budgets b WHERE b.vendor = of_vendor FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO provider_budgets (vendor) VALUES (of_vendor) ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN budget;
END
$$;

-- The share of the limit per minute that holds at an instant.
CREATE FUNCTION provider_scale(budget provider_budgets, at timestamptz) RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN budget.scaled_at IS NULL THEN 1
        ELSE least(1, budget.scale * power(2, least(60, greatest(0, floor(
            extract(epoch FROM at - budget.scaled_at) / 600))))::double precision)
    END
$$;

-- Charge calls to the tick (0.1 s since 1970) in which they were leased; a negative number gives back what was not
-- spent, to the same buckets, as far as they are still counted.
CREATE FUNCTION charge_calls(of_vendor text, tick bigint, by_second boolean, calls integer) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    of_day date := date '1970-01-01' + (tick / 864000)::integer;
BEGIN
    PERFORM lock_provider_budget(of_vendor);
    IF calls > 0 THEN
        INSERT INTO provider_usage AS u (vendor, span, bucket, used) VALUES (of_vendor, 'minute', tick / 20, calls)
        ON CONFLICT (vendor, span, bucket) DO UPDATE SET used = u.used + calls;
        IF by_second THEN
            INSERT INTO provider_usage AS u (vendor, span, bucket, used) VALUES (of_vendor, 'second', tick, calls)
            ON CONFLICT (vendor, span, bucket) DO UPDATE SET used = u.used + calls;
        END IF;
        INSERT INTO provider_days AS d (vendor, day, used) VALUES (of_vendor, of_day, calls)
        ON CONFLICT (vendor, day) DO UPDATE SET used = d.used + calls;
    ELSE
        UPDATE provider_usage u SET used = greatest(0, u.used + calls)
        WHERE u.vendor = of_vendor
          AND (u.span = 'minute' AND u.bucket = tick / 20 OR by_second AND u.span = 'second' AND u.bucket = tick);
        UPDATE provider_days d SET used = greatest(0, d.used + calls) WHERE d.vendor = of_vendor AND d.day = of_day;
    END IF;
END
$$;

-- Lease at least least_calls and at most most_calls, or none. A null limit is no limit. Windows are the bucket of now
-- and those before it that a window of the limit's length can touch, and one more: what is leased here reaches the
-- vendor a little later. Buckets after now are counted as well, should the clock have been set back.
--
-- granted is 0 where there is no room; then retry_in says in how many seconds there may be, and exhausted whether that
-- is for the day's allowance. Otherwise the calls are to be made within `seconds`, and what is not spent is given back
-- under `tick`. `at` stands for the server's clock in tests.
CREATE FUNCTION lease_calls(
    of_vendor text, per_second integer, per_minute integer, per_day integer, least_calls integer, most_calls integer,
    at timestamptz DEFAULT NULL,
    OUT granted integer, OUT tick bigint, OUT seconds double precision, OUT retry_in double precision,
    OUT exhausted boolean
) LANGUAGE plpgsql AS $$
DECLARE
    budget      provider_budgets;
    epoch       numeric;
    now_minute  bigint;
    used_minute bigint;
    used_second bigint;
    used_day    bigint;
    room        bigint := most_calls;
    minute_room bigint;
    midnight    timestamptz;
    again_at    timestamptz;
BEGIN
    budget := lock_provider_budget(of_vendor);
    -- Only now, with the lock in hand: who waited for it is charged to the bucket in which its turn came.
    at := coalesce(at, clock_timestamp());
    epoch := extract(epoch FROM at);
    tick := floor(epoch * 10);
    now_minute := tick / 20;
    midnight := (date_trunc('day', at AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC';
    granted := 0;
    seconds := 0;
    retry_in := 0;
    exhausted := false;

    IF per_day IS NOT NULL THEN
        SELECT d.used INTO used_day FROM provider_days d
        WHERE d.vendor = of_vendor AND d.day = (at AT TIME ZONE 'UTC')::date;
        room := least(room, per_day - coalesce(used_day, 0));
        IF room < least_calls THEN
            again_at := midnight;
        END IF;
    END IF;
    again_at := greatest(again_at, budget.exhausted_until); -- null is left out of it
    IF again_at > at THEN
        exhausted := true;
        retry_in := extract(epoch FROM again_at - at);
        RETURN;
    END IF;
    IF budget.blocked_until > at THEN
        retry_in := extract(epoch FROM budget.blocked_until - at);
        RETURN;
    END IF;

    DELETE FROM provider_usage u
    WHERE u.vendor = of_vendor
      AND (u.span = 'minute' AND u.bucket <= now_minute - 32 OR u.span = 'second' AND u.bucket <= tick - 12);

    IF per_minute IS NOT NULL THEN
        per_minute := greatest(1, floor(per_minute * provider_scale(budget, at)));
        SELECT coalesce(sum(u.used), 0) INTO used_minute FROM provider_usage u
        WHERE u.vendor = of_vendor AND u.span = 'minute' AND u.bucket < now_minute + 32;
        minute_room := per_minute - used_minute;
        IF used_minute = 0 THEN
            minute_room := greatest(minute_room, least_calls); -- one call heavier than the shrunk limit goes alone
        END IF;
        room := least(room, minute_room);
        IF minute_room < least_calls THEN
            SELECT (k.bucket + 32) * 2 - epoch INTO retry_in FROM (
                SELECT u.bucket, sum(u.used) OVER (ORDER BY u.bucket DESC) - u.used AS later FROM provider_usage u
                WHERE u.vendor = of_vendor AND u.span = 'minute' AND u.bucket < now_minute + 32
            ) k
            WHERE k.later = 0 OR k.later + least_calls <= per_minute
            ORDER BY k.bucket LIMIT 1;
        END IF;
    END IF;
    IF per_second IS NOT NULL THEN
        SELECT coalesce(sum(u.used), 0) INTO used_second FROM provider_usage u
        WHERE u.vendor = of_vendor AND u.span = 'second' AND u.bucket < tick + 12;
        room := least(room, per_second - used_second);
        IF per_second - used_second < least_calls THEN
            SELECT greatest(retry_in, (k.bucket + 12) * 0.1 - epoch) INTO retry_in FROM (
                SELECT u.bucket, sum(u.used) OVER (ORDER BY u.bucket DESC) - u.used AS later FROM provider_usage u
                WHERE u.vendor = of_vendor AND u.span = 'second' AND u.bucket < tick + 12
            ) k
            WHERE k.later + least_calls <= per_second
            ORDER BY k.bucket LIMIT 1;
        END IF;
    END IF;
    IF room < least_calls THEN
        RETURN;
    END IF;

    granted := room;
    seconds := CASE WHEN per_second IS NULL THEN (now_minute + 1) * 2 - epoch ELSE (tick + 1) * 0.1 - epoch END;
    PERFORM charge_calls(of_vendor, tick, per_second IS NOT NULL, granted);
END
$$;

-- A 429 came: nobody leases for retry_after seconds, or until the next minute begins, and the limit per minute is halved.
-- One that comes during such a pause answers a call made before it, and halves nothing.
CREATE FUNCTION shrink_calls(
    of_vendor text, per_minute integer, retry_after double precision, at timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    budget provider_budgets := lock_provider_budget(of_vendor);
    until  timestamptz;
BEGIN
    at := coalesce(at, clock_timestamp());
    until := CASE
        WHEN retry_after IS NULL THEN date_trunc('minute', at) + interval '1 minute'
        ELSE at + make_interval(secs => retry_after)
    END;
    IF budget.blocked_until IS NULL OR budget.blocked_until <= at THEN
        UPDATE provider_budgets b
        SET scale = greatest(provider_scale(budget, at) / 2, 1.0 / coalesce(per_minute, 1)), scaled_at = at
        WHERE b.vendor = of_vendor;
    END IF;
    UPDATE provider_budgets b SET blocked_until = greatest(b.blocked_until, until) WHERE b.vendor = of_vendor;
END
$$;

-- The vendor said that its allowance is used up: nothing more before `until`, by default the next midnight in UTC.
CREATE FUNCTION exhaust_calls(of_vendor text, until timestamptz, at timestamptz DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_provider_budget(of_vendor);
    at := coalesce(at, clock_timestamp());
    until := coalesce(until, (date_trunc('day', at AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC');
    UPDATE provider_budgets b SET exhausted_until = greatest(b.exhausted_until, until) WHERE b.vendor = of_vendor;
END
$$;

-- --- health and circuits ----------------------------------------------------------------------------------------------

CREATE TABLE provider_health (
    vendor     text PRIMARY KEY,
    latencies  double precision[] NOT NULL, -- ms of the last 100 calls, oldest first
    error_ewma double precision NOT NULL DEFAULT 0,
    received   jsonb  NOT NULL DEFAULT '[]', -- the last 20 sessions: [session, bars received, bars expected]
    calls      bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL
);

CREATE TABLE provider_circuits (
    vendor            text    NOT NULL,
    capability        text    NOT NULL,
    state             text    NOT NULL CHECK (state IN ('closed', 'open', 'half_open')),
    failures          integer NOT NULL, -- in a row
    opened_at         timestamptz,
    retry_at          timestamptz,
    times_opened      integer NOT NULL DEFAULT 0, -- in a row
    reason            text,
    key_mark          text,
    not_in_plan_until timestamptz,
    updated_at        timestamptz NOT NULL,
    PRIMARY KEY (vendor, capability)
);
COMMENT ON COLUMN provider_circuits.key_mark IS
    'A one-way mark of the key with which the circuit opened, so that another key is tried at once.';
COMMENT ON COLUMN provider_circuits.not_in_plan_until IS
    'The vendor said that the plan lacks this capability: it is not asked for it before.';

-- --- what was asked of whom -------------------------------------------------------------------------------------------

CREATE TABLE provider_requests (
    request_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      text,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    vendor      text    NOT NULL,
    capability  text    NOT NULL,
    calls       integer NOT NULL,
    symbols     integer NOT NULL,
    errors      jsonb   NOT NULL DEFAULT '{}', -- type of error -> how many
    p50_ms      double precision,
    p95_ms      double precision,
    fallbacks   jsonb   NOT NULL DEFAULT '{}', -- why the next vendor was asked -> how many symbols
    undone      integer NOT NULL DEFAULT 0 -- symbols that nobody served
);
CREATE INDEX provider_requests_started ON provider_requests (started_at);

-- Counters since the tables were made, over all processes.
CREATE TABLE provider_selected (
    capability text   NOT NULL,
    vendor     text   NOT NULL,
    times      bigint NOT NULL,
    PRIMARY KEY (capability, vendor)
);

CREATE TABLE provider_errors (
    vendor   text   NOT NULL,
    endpoint text   NOT NULL,
    code     text   NOT NULL,
    times    bigint NOT NULL,
    PRIMARY KEY (vendor, endpoint, code)
);

CREATE TABLE provider_latency (
    vendor   text     NOT NULL,
    endpoint text     NOT NULL,
    buckets  bigint[] NOT NULL, -- calls per bucket of the histogram
    sum_ms   double precision NOT NULL,
    calls    bigint   NOT NULL,
    PRIMARY KEY (vendor, endpoint)
);

-- --- companies --------------------------------------------------------------------------------------------------------

-- What was said of a company; a change is a new version, and the one before keeps its dates.
CREATE TABLE company_profiles (
    instrument_id integer NOT NULL REFERENCES instruments,
    version       integer NOT NULL,
    name          text,
    exchange      text,
    sector        text,
    industry      text,
    sub_industry  text,
    market_cap    double precision,
    currency      text,
    next_earnings date,
    vendor        text NOT NULL,
    as_of         timestamptz NOT NULL,
    superseded_at timestamptz,
    PRIMARY KEY (instrument_id, version)
);
COMMENT ON COLUMN company_profiles.as_of IS 'When this version was learned.';
CREATE UNIQUE INDEX company_profiles_current ON company_profiles (instrument_id) WHERE superseded_at IS NULL;

-- When somebody last asked, also where nothing had changed.
CREATE TABLE company_profile_checks (
    instrument_id integer PRIMARY KEY REFERENCES instruments,
    checked_at    timestamptz NOT NULL,
    vendor        text NOT NULL
);

-- Roles, instruments, the names they bear, and what the platform follows.
--
-- qm_owner runs migrations, qm_writer writes, qm_reader reads. Where the server already has them (the embedded one
-- does, with passwords) they are left as they are.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['qm_owner', 'qm_writer', 'qm_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this server was quicker
            END;
        END IF;
    END LOOP;
END
$$;

-- Dagster keeps its own tables here where it shares this database with the warehouse.
CREATE SCHEMA IF NOT EXISTS dagster;

CREATE TABLE instruments (
    instrument_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text NOT NULL DEFAULT 'stock' CHECK (kind IN ('stock', 'fund', 'index', 'crypto')),
    name          text,
    currency      text NOT NULL DEFAULT 'USD',
    calendar      text NOT NULL DEFAULT 'XNYS',
    sector        text,
    industry      text,
    sub_industry  text,
    listed_on     date,
    delisted_on   date,
    created_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE instruments IS 'One row per traded thing. A ticker is only a name that it bears for a time.';

-- valid_to is exclusive; null while the name is borne. 1900-01-01 stands for "since before we looked".
CREATE TABLE instrument_symbols (
    symbol        text    NOT NULL,
    valid_from    date    NOT NULL DEFAULT '1900-01-01',
    valid_to      date,
    instrument_id integer NOT NULL REFERENCES instruments,
    PRIMARY KEY (symbol, valid_from),
    CHECK (valid_to IS NULL OR valid_to > valid_from),
    CHECK (symbol = upper(symbol))
);
CREATE UNIQUE INDEX instrument_symbols_current ON instrument_symbols (symbol) WHERE valid_to IS NULL;
CREATE INDEX instrument_symbols_instrument ON instrument_symbols (instrument_id);

-- A spell is one uninterrupted stay in an index. Who leaves and returns has two rows.
CREATE TABLE index_constituents (
    index_code         text    NOT NULL,
    instrument_id      integer NOT NULL REFERENCES instruments,
    first_seen         date    NOT NULL,
    last_seen          date    NOT NULL,
    is_active          boolean NOT NULL DEFAULT true,
    became_inactive_at date,
    PRIMARY KEY (index_code, instrument_id, first_seen),
    CHECK (last_seen >= first_seen),
    CHECK (is_active = (became_inactive_at IS NULL))
);
CREATE UNIQUE INDEX index_constituents_one_active_spell
    ON index_constituents (index_code, instrument_id) WHERE is_active;

-- One row per index and day on which a list of its members was true; what a refresh did and from where.
CREATE TABLE index_refreshes (
    index_code    text    NOT NULL,
    seen_on       date    NOT NULL,
    fetched       integer NOT NULL,
    inserted      integer NOT NULL,
    reactivated   integer NOT NULL,
    inactivated   integer NOT NULL,
    provider_used text    NOT NULL,
    fallback_used boolean NOT NULL,
    note          text,
    refreshed_at  timestamptz NOT NULL,
    PRIMARY KEY (index_code, seen_on)
);

CREATE TABLE watch_list (
    instrument_id integer PRIMARY KEY REFERENCES instruments,
    added_at      timestamptz NOT NULL
);

-- What is tracked, since when and why. A leaver of an index stays (active) until it is removed by hand.
CREATE TABLE symbol_universe (
    instrument_id integer PRIMARY KEY REFERENCES instruments,
    active        boolean NOT NULL DEFAULT true,
    tier          text    NOT NULL DEFAULT 'T1' CHECK (tier IN ('T0', 'T1', 'T2')),
    first_tracked date    NOT NULL, -- the session on which it came in, the last time it did
    reasons       text[]  NOT NULL,
    metadata      jsonb   NOT NULL DEFAULT '{}'
);

CREATE VIEW symbols AS
SELECT s.symbol, s.valid_from, s.valid_to, i.*
FROM instrument_symbols s
JOIN instruments i USING (instrument_id);

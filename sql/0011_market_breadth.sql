-- The breadth of the market: how many of the stocks with a recorded row of a session rise, stand above their averages,
-- make new highs or are in which stage. Only ever added to, as the history is: a restatement is a new revision. The
-- columns are those of quantmatrix_pipeline/indicators/breadth.py, which says what each is.
CREATE TABLE market_breadth (
    session  date        NOT NULL,
    revision smallint    NOT NULL DEFAULT 1,
    as_of    timestamptz NOT NULL,
    instruments integer NOT NULL,
    advances integer NOT NULL,
    declines integer NOT NULL,
    unchanged integer NOT NULL,
    above_sma_20 integer NOT NULL,
    with_sma_20 integer NOT NULL,
    pct_above_sma_20 double precision,
    above_sma_50 integer NOT NULL,
    with_sma_50 integer NOT NULL,
    pct_above_sma_50 double precision,
    above_sma_200 integer NOT NULL,
    with_sma_200 integer NOT NULL,
    pct_above_sma_200 double precision,
    new_highs_252 integer NOT NULL,
    new_lows_252 integer NOT NULL,
    with_252_bars integer NOT NULL,
    stage_1 integer NOT NULL,
    stage_2a integer NOT NULL,
    stage_2b integer NOT NULL,
    stage_2c integer NOT NULL,
    stage_3 integer NOT NULL,
    stage_4 integer NOT NULL,
    stage_unknown integer NOT NULL,
    PRIMARY KEY (session, revision)
);
COMMENT ON COLUMN market_breadth.revision IS
    '1 for what was recorded first; a restatement stands beside it under the next number.';
CREATE TRIGGER breadth_is_immutable BEFORE UPDATE OR DELETE ON market_breadth
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER breadth_is_not_truncated BEFORE TRUNCATE ON market_breadth
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON market_breadth FROM PUBLIC, qm_writer, qm_reader;

-- What people ask for: each session in its newest revision, and the advance-decline line over all that is recorded.
CREATE VIEW market_breadth_current AS
SELECT b.*, sum(advances - declines) OVER (ORDER BY session) AS advance_decline_line
FROM (SELECT DISTINCT ON (session) * FROM market_breadth ORDER BY session, revision DESC) AS b;
COMMENT ON COLUMN market_breadth_current.advance_decline_line IS
    'Advances minus declines, summed from the first recorded session on.';

-- From which session on the recorded breadth no longer follows from the recorded history. Who restates the history notes
-- it, who records breadth works it off. One row at most.
CREATE TABLE market_breadth_due (
    first_session date    NOT NULL,
    single_row    boolean PRIMARY KEY DEFAULT true CHECK (single_row)
);

COMMENT ON COLUMN market_analysis_cache.raw_analysis IS
    'What does not fit in columns: the bar, open gaps, trend lines that hold, thresholds; see docs/indicators.md.';
COMMENT ON COLUMN market_analysis_history.raw_analysis IS
    'Not filled: the read API computes it for any session from the stored bars. The snapshot has that of the newest.';

-- Generated from the catalogue of indicators by `python -m quantmatrix_pipeline.snapshots.rows`.
ALTER TABLE market_analysis_cache
    ADD COLUMN sma_30w double precision,
    ADD COLUMN stage_slope_pct double precision,
    ADD COLUMN stage_dist_pct double precision,
    ADD COLUMN stage_label text,
    ADD COLUMN stage_label_5d_ago text,
    ADD COLUMN stage_rules_version double precision,
    ADD COLUMN stage_flat_pct double precision,
    ADD COLUMN stage_near_pct double precision,
    ADD COLUMN stage_far_pct double precision,
    ADD COLUMN rs_mansfield_pct double precision,
    ADD COLUMN rs_benchmark text;
ALTER TABLE market_analysis_history
    ADD COLUMN sma_30w double precision,
    ADD COLUMN stage_slope_pct double precision,
    ADD COLUMN stage_dist_pct double precision,
    ADD COLUMN stage_label text,
    ADD COLUMN stage_label_5d_ago text,
    ADD COLUMN stage_rules_version double precision,
    ADD COLUMN stage_flat_pct double precision,
    ADD COLUMN stage_near_pct double precision,
    ADD COLUMN stage_far_pct double precision,
    ADD COLUMN rs_mansfield_pct double precision,
    ADD COLUMN rs_benchmark text;

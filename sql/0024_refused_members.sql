-- Lists of index members that came and were not believed: one row per index until all that come are believed.
CREATE TABLE index_refusals (
    index_code text        PRIMARY KEY,
    session    date        NOT NULL, -- it was asked for this one
    reason     text        NOT NULL,
    served_by  text,                 -- whose list was taken instead; null: nobody's
    refused_at timestamptz NOT NULL  -- of the first in a row
);
COMMENT ON TABLE index_refusals IS 'Nobody was marked as a leaver because of such a list; `qm doctor` and /health tell.';

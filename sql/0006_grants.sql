-- Who may do what. Later tables get the same rights through default privileges.
GRANT USAGE ON SCHEMA public TO qm_writer, qm_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO qm_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO qm_writer;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO qm_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO qm_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO qm_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO qm_writer;

-- What is immutable or append-only is so for the writer as well.
REVOKE UPDATE, DELETE, TRUNCATE ON market_analysis_history FROM PUBLIC, qm_writer, qm_reader;
REVOKE UPDATE, DELETE, TRUNCATE ON price_data_revisions, corporate_actions FROM PUBLIC, qm_writer, qm_reader;

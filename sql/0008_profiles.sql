-- Companies as people ask for them: one row per symbol borne now. What a list of index members says of a name, a sector
-- or an industry comes first; what a vendor said fills in the rest, and is null until one did.
CREATE VIEW companies AS
SELECT i.instrument_id,
       s.symbol,
       coalesce(i.name, p.name)                 AS name,
       p.exchange,
       coalesce(i.sector, p.sector)             AS sector,
       coalesce(i.industry, p.industry)         AS industry,
       coalesce(i.sub_industry, p.sub_industry) AS sub_industry,
       p.market_cap,
       p.currency                               AS market_cap_currency,
       p.next_earnings,
       p.vendor,
       p.as_of,
       c.checked_at
FROM instruments i
JOIN instrument_symbols s ON s.instrument_id = i.instrument_id AND s.valid_to IS NULL
LEFT JOIN company_profiles p ON p.instrument_id = i.instrument_id AND p.superseded_at IS NULL
LEFT JOIN company_profile_checks c ON c.instrument_id = i.instrument_id;

COMMENT ON COLUMN companies.market_cap_currency IS
    'Of a foreign company it may be another one than that of its prices here.';
COMMENT ON COLUMN company_profiles.currency IS 'Of the market cap.';
COMMENT ON COLUMN companies.next_earnings IS 'The next date that was known when somebody asked; it may have passed since.';
COMMENT ON COLUMN company_profiles.vendor IS
    'Who said what is new in this version; constituents: the list of an index''s members, or the source of the bars.';
COMMENT ON COLUMN company_profile_checks.checked_at IS
    'When a vendor last had something to say of this company, be it that it does not know it.';
COMMENT ON COLUMN company_profile_checks.vendor IS 'Who said it.';

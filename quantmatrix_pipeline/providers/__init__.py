"""The fetch contract and the sources behind it, one file per vendor.

Belongs here: what a vendor is asked, what it answers, its symbols, its errors. Does not: which sessions are
missing (ingest), SQL.
"""

"""The fetch contract and the sources behind it.

`vendors` holds what is true of each source, `transport` how they are reached, `routing` which of them is asked and why.

Belongs here: what a vendor is asked, what it answers, its symbols, its errors. Does not: which sessions are
missing (ingest), SQL.
"""

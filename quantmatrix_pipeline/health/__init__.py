"""Is everything well: what is looked at, and what of it is wrong, for `qm doctor` and `/health` alike.

Belongs here: judging what the database, the machine and the environment say. Does not: SQL, Dagster, asking a vendor,
whether the data are complete (coverage).
"""

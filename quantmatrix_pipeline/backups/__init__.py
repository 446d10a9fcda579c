"""Copies of the databases to come back to: taken in one snapshot each, counted and hashed, proved by restoring them.

A backup is a folder of its own, in a local folder or at any address that fsspec knows::

    20261129T080000Z/warehouse.dump     pg_dump's custom format
    20261129T080000Z/dagster.dump       Dagster's own tables
    20261129T080000Z/manifest.json      written last: without it, or with other files than it says, it is no backup
    20261129T080000Z/verification.json  what the newest `verify` found

Belongs here: where backups lie, what makes one complete, how long they are kept. Does not: PostgreSQL's programs, SQL.
"""

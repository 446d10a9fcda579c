"""Dagster assets, a file per group: take the partition, call the domain, hand back metadata.

Belongs here: `@asset` functions of one short paragraph and their metadata. Does not: arithmetic, SQL, loops over
symbols.
"""

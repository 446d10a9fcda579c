"""Who hears of what: troubles and recoveries out of ended runs, one message per cause, an outbox, channels, the digest.

Belongs here: what is worth a message, how it reads, and bringing it to people. Does not: reading Dagster's event log
(`automation`), the tables' SQL (`warehouse`).
"""

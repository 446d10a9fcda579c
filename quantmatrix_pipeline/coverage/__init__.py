"""How fresh and complete the tracked set is, in sessions, and what to press when it is not.

Belongs here: ages, buckets, the report. Does not: fetching, SQL.
"""

"""Which instruments the platform follows: index members over time, the watch list, the tracked set.

Belongs here: membership and tracking rules. Does not: bars, SQL.
"""

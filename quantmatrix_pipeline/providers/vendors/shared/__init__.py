"""What several vendors have in common: bars served as they were asked for, splits and dividends, members of indexes.

Belongs here: a rule that holds for at least two vendors. Does not: what is true of one vendor (its own file), and what
is alike for all that speak HTTP (transport).
"""

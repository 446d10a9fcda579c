"""What became of a run, read out of what Dagster wrote about it: how it ended, why, and whether it is tried again.

Does not belong here: whom that concerns, and what they are told.
"""

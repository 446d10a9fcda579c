"""What two sources say of the same bars: where they differ, why, and which of them is in doubt.

Belongs here: pure functions over the bars of two sources, aligned. Does not: who is asked, where an outcome is kept,
and what is done about it (`ingest.reconcile`). Nothing here averages two candidates or makes a third of them.
"""

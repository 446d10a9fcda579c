"""Measurements of the system against its peers and against what the machine can do, side by side in one run.

Belongs here: generators of load, timers, rows for `qm bench`. Does not: anything the system itself needs to work.
"""

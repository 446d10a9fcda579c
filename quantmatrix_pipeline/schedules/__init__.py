"""Schedules as data: what runs when, under which conditions, and who changed it.

Belongs here: the entries of `automation/schedules.yaml`, reading and editing that file, an entry's ticks, and what is
to be done at one of them, given what is known then. Does not: Dagster, which `automation` puts these entries into.
"""

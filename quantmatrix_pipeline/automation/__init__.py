"""When things run and who hears of it: jobs, schedules, sensors, alerts.

Belongs here: what launches runs or reports on them. Does not: any work that a run does.
"""

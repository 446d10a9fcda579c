"""When things run and who hears of it: `schedules.yaml`, the jobs, the sensors, and what became of runs.

Belongs here: what launches runs or reports on them. Does not: any work that a run does.
"""

"""The jobs: what a person presses, a schedule starts or a sensor launches.

Belongs here: which steps a job has, in which order, and what may be set. Does not: when it runs (`schedules.yaml`, the
sensors), and how a step does its work (`ingest`, `snapshots`, ...).
"""

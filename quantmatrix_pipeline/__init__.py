"""A self-hosted market-data platform as one Dagster project.

The data's way through this package, top to bottom::

    providers    one contract, one file per source: what a vendor answers, typed
    ingest       which sessions are missing, fetch them, prove them sound, write them once
    bars         what a bar is: calendar, rules, quality score, adjustment (pure)
    warehouse    the only code that speaks SQL
    indicators   every number computed from bars, on panels (pure)
    snapshots    bars -> indicators -> latest snapshot and immutable history
    coverage     how fresh all of it is, and why not
    api          reads; what changes things takes an admin key

``universe`` says which instruments all this is done for. ``assets``, ``checks``, ``automation`` and ``resources`` are
the Dagster faces of the same functions; ``definitions.build_defs`` puts them together; ``cli`` is the ``qm`` command.
``schedules`` says what runs when, as data; ``dagster_client`` speaks to a Dagster that runs elsewhere; ``job_names`` is
what both call the jobs.
"""

__version__ = "0.1.0"

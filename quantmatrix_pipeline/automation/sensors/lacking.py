"""Sensors that launch what coverage lacks: a stale-only backfill, the backfill of new symbols, the history of missed
sessions.
"""

from collections.abc import Sequence

from dagster import (
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.automation.jobs.tags import AnyJob
from quantmatrix_pipeline.automation.runs.under_way import chain_under_way
from quantmatrix_pipeline.automation.sensors.declare import running_sensor
from quantmatrix_pipeline.automation.sensors.tries import Look
from quantmatrix_pipeline.automation.sensors.turn import chain_has_had_its_turn
from quantmatrix_pipeline.coverage.attempts import MISSED, NEW, STALE
from quantmatrix_pipeline.coverage.report import stale_as_of
from quantmatrix_pipeline.dagster_client.session_tags import SESSION
from quantmatrix_pipeline.job_names import BACKFILL_HISTORY, BACKFILL_STALE, BACKFILL_SYMBOLS, REFRESH_COVERAGE
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.snapshots.missed import missed_sessions
from quantmatrix_pipeline.warehouse import coverage as tables
from quantmatrix_pipeline.warehouse import universe

LOOKED_BACK = 10  # sessions: what was missed before is the job backfill_history's, on somebody's word


def build(made: Sequence[AnyJob]) -> list[SensorDefinition]:
    """Return the sensors; `made` are the jobs, of which they launch some."""

    def launching(*names: str) -> list[AnyJob]:
        return [job for job in made if job.name in names]

    @running_sensor(STALE, every_seconds=60, jobs=launching(BACKFILL_STALE, REFRESH_COVERAGE))
    def backfill_stale_coverage(context: SensorEvaluationContext, platform: Platform) -> SensorResult | SkipReason:
        """Fetch what is not fresh as of the newest closed session; the same stale set is tried once."""
        now = clock.now()
        look = Look(STALE, platform, context.instance, context.cursor, now)
        session = platform.newest_session()
        expected, every = stale_as_of(platform.warehouse, platform.calendar, session)
        if not every:
            return SkipReason(f"all {expected} expected instruments are fresh as of {session}")
        if not chain_has_had_its_turn(context.instance, platform.calendar, session, now):
            return SkipReason(f"{len(every)} stale as of {session}, which has just closed; its chain comes first")
        if tables.newest(platform.warehouse) is None:
            return SkipReason("no chain has run yet: the first load is restore_daily_coverage's work")
        if chain_under_way(context.instance):
            return SkipReason(f"{len(every)} stale as of {session}; a run that may fetch them is under way")
        stale = sorted(set(every).difference(universe.never_asked(platform.warehouse)))
        if not stale:
            return SkipReason(f"{len(every)} without bars are new: {NEW} has them fetched")
        tags = {SESSION: str(session), "quantmatrix/stale": str(len(stale))}
        run = RunRequest(job_name=BACKFILL_STALE, partition_key=str(session), tags=tags)
        return look.decide(session, stale, f"{len(stale)} stale as of {session}", run)

    @running_sensor(NEW, every_seconds=60, jobs=launching(BACKFILL_SYMBOLS, REFRESH_COVERAGE))
    def backfill_new_symbols(context: SensorEvaluationContext, platform: Platform) -> SensorResult | SkipReason:
        """Fetch what nobody was ever asked about: what was tracked, or put on the watch list, since the last chain."""
        look = Look(NEW, platform, context.instance, context.cursor, clock.now())
        new = sorted({*universe.never_asked(platform.warehouse), *universe.waiting(platform.warehouse)})
        if not new:
            return SkipReason("nothing is new")
        if tables.newest(platform.warehouse) is None:
            return SkipReason("no chain has run yet: the first load is restore_daily_coverage's work")
        if chain_under_way(context.instance):
            return SkipReason(f"{len(new)} new; a run that may fetch them is under way")
        tags = {"quantmatrix/new": str(len(new))}
        run = RunRequest(job_name=BACKFILL_SYMBOLS, tags=tags)
        return look.decide(platform.newest_session(), new, f"{len(new)} new: {', '.join(new[:5])}", run)

    @running_sensor(MISSED, every_seconds=300, jobs=launching(BACKFILL_HISTORY, REFRESH_COVERAGE))
    def record_missed_sessions(context: SensorEvaluationContext, platform: Platform) -> SensorResult | SkipReason:
        """Record the history of sessions whose bars came when their night was over, in one run."""
        look = Look(MISSED, platform, context.instance, context.cursor, clock.now())
        newest = platform.newest_session()
        first = platform.calendar.window(newest, LOOKED_BACK)[0].item()
        missed = [str(day) for day in missed_sessions(platform.warehouse, platform.calendar, first)]
        if not missed:
            return SkipReason(f"none of the last {LOOKED_BACK} sessions was missed")
        if chain_under_way(context.instance):
            return SkipReason(f"{len(missed)} sessions without a history; a run that may record them is under way")
        stretch = {"first": missed[0], "last": missed[-1]}
        run = RunRequest(job_name=BACKFILL_HISTORY, run_config={"ops": {"record_range": {"config": stretch}}})
        return look.decide(newest, missed, f"{len(missed)} sessions without a history: {', '.join(missed)}", run)

    return [backfill_stale_coverage, backfill_new_symbols, record_missed_sessions]

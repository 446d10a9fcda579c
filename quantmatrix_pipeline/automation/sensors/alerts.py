"""Sensors that tell people: of runs that ended or take long, of assets that grew stale; and one that delivers.

The first two only write to the outbox, so that no channel can hold them up; the third empties it. All beat at every
tick, since a sensor that dies is itself silent: `/health` and `qm doctor` say when a heartbeat is old.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from functools import cache, partial

from dagster import (
    DagsterEventType,
    EventRecordsFilter,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.alerts import troubles
from quantmatrix_pipeline.alerts.channels import PUSHGATEWAY, sender
from quantmatrix_pipeline.alerts.channels.pushgateway import duration
from quantmatrix_pipeline.alerts.deliver import BUDGET_SECONDS, TIMEOUT_SECONDS, deliver, instant
from quantmatrix_pipeline.alerts.events import Run
from quantmatrix_pipeline.alerts.routing import Policy
from quantmatrix_pipeline.alerts.tell import tell
from quantmatrix_pipeline.automation.jobs.digest import OP
from quantmatrix_pipeline.automation.runs import events, reports
from quantmatrix_pipeline.automation.runs.ended import ended_runs
from quantmatrix_pipeline.automation.sensors.declare import running_sensor
from quantmatrix_pipeline.coverage.report import coverage_as_of
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.job_names import DIGEST, RESTORE
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.warehouse import alert_incidents as incidents
from quantmatrix_pipeline.warehouse import alert_outbox as outbox
from quantmatrix_pipeline.warehouse import coverage as tables
from quantmatrix_pipeline.warehouse import runs

RUNS, FRESHNESS, DELIVERY = "alert_on_runs", "alert_on_freshness", "deliver_alerts"
AT_ONCE = 50


def build() -> list[SensorDefinition]:
    """Return the alerting sensors."""

    @running_sensor(RUNS, every_seconds=30, job_name=DIGEST)
    def alert_on_runs(context: SensorEvaluationContext, platform: Platform) -> SensorResult | SkipReason:
        """One message per cause of failed runs and failed checks, one when it is over; slow runs; durations."""
        tables.beat(platform.warehouse, RUNS, clock.now())
        runs.close_dead(platform.warehouse)
        cursor = events.EndedCursor.parse(context.cursor)
        if cursor is None:  # what happened before somebody listened is no news
            context.update_cursor(str(events.newest(context.instance)))
            return SkipReason("listening from here on")
        now = clock.wall()
        new = ended_runs(context.instance, context.repository_def, cursor, now)
        lacking = cache(partial(_lacking, platform))
        ended = [_with_coverage(context, run, lacking) for run in new]
        slow = troubles.slow(reports.taking_long(context.instance, context.repository_def, now))
        if ended or slow:
            _say(platform, ended, slow)
        if requests := _digests(context, platform, ended):
            return SensorResult(run_requests=requests, cursor=str(cursor))
        context.update_cursor(str(cursor))
        return SkipReason(f"{len(ended)} runs ended since the last look, {len(slow)} take long")

    @running_sensor(FRESHNESS, every_seconds=60)
    def alert_on_freshness(context: SensorEvaluationContext, platform: Platform) -> SensorResult | SkipReason:
        """One message for the assets that became stale together, one when they are fresh again."""
        tables.beat(platform.warehouse, FRESHNESS, clock.now())
        seen = int(context.cursor) if context.cursor else None
        wanted = EventRecordsFilter(DagsterEventType.FRESHNESS_STATE_CHANGE, after_cursor=seen)
        records = context.instance.get_event_records(wanted, limit=AT_ONCE, ascending=seen is not None)
        context.update_cursor(str(max((r.storage_id for r in records), default=seen or 0)))
        if seen is None:
            return SkipReason("listening from here on")
        state: dict[str, FreshnessState] = {}
        for record in records:
            event = record.event_log_entry.dagster_event
            change = event.event_specific_data if event else None
            if isinstance(change, FreshnessStateChange):
                state[change.key.to_user_string()] = change.new_state
        groups = [
            troubles.stale(names, bad.value, reports.owners(context.repository_def, names))
            for bad in (FreshnessState.FAIL, FreshnessState.WARN)
            if (names := [name for name, now in state.items() if now is bad])
        ]
        tell(
            platform.warehouse,
            Policy.of(platform.settings),
            instant(),
            groups=groups,
            well=[f"asset:{n}:{s}" for n, now in state.items() if now is FreshnessState.PASS for s in ("WARN", "FAIL")],
            over=[f"asset:{n}:WARN" for n, now in state.items() if now is FreshnessState.FAIL],
        )
        return SkipReason(f"{len(state)} assets changed since the last look")

    @running_sensor(DELIVERY, every_seconds=30)
    def deliver_alerts(context: SensorEvaluationContext, platform: Platform) -> SkipReason:
        """Send what waits in the outbox; what a channel does not take is kept and tried again."""
        tables.beat(platform.warehouse, DELIVERY, clock.now())
        done = deliver(
            platform.warehouse,
            partial(sender, platform.settings, timeout=TIMEOUT_SECONDS),
            worker=f"{socket.gethostname()}:{os.getpid()}:{time.monotonic_ns()}",
            budget_seconds=BUDGET_SECONDS,
        )
        said = f"{done.delivered} delivered, {done.later} put off, {done.refused} refused"
        return SkipReason(said + (f"; no answer yet from {', '.join(done.unfinished)}" if done.unfinished else ""))

    return [alert_on_runs, alert_on_freshness, deliver_alerts]


def _digests(context: SensorEvaluationContext, platform: Platform, ended: Sequence[Run]) -> list[RunRequest]:
    """Return what starts the digest of the newest session, once its chain has ended well and somebody wants it."""
    chains = [run.run_id for run in ended if run.job == RESTORE and run.outcome == "success"]
    if platform.settings.digest_channels is None or not chains:
        return []
    stored = context.instance.get_runs(RunsFilter(run_ids=chains))
    try:
        newest = platform.newest_session()
    except QuantMatrixError as error:  # a source that is broken since: what was told must not be told again for it
        context.log.warning("no digest: %s", error)
        return []
    if newest not in {reports.session(run.tags) for run in stored}:
        return []  # an older session's is no news
    config = {"ops": {OP: {"config": {"session": str(newest)}}}}
    return [RunRequest(run_key=f"digest-{newest}", run_config=config)]


def _say(platform: Platform, ended: Sequence[Run], slow: Sequence[troubles.Group]) -> None:
    now = instant()
    if platform.settings.pushgateway_url is not None:
        with platform.warehouse.begin() as connection:
            for run in (run for run in ended if run.wishes.pushed):
                outbox.queue(connection, [(PUSHGATEWAY, None)], duration(run).as_json(), now, once=run.run_id)
    verdict = troubles.judge(ended, incidents.broken(platform.warehouse))
    tell(
        platform.warehouse,
        Policy.of(platform.settings),
        now,
        groups=[*verdict.groups, *slow],
        well=verdict.well,
        over=verdict.over,
        successes=[run for run in ended if run.outcome == "success"],
    )


Lacking = tuple[int, int]  # how many instruments lack a session's bar, and how many should have it


def _with_coverage(context: SensorEvaluationContext, run: Run, lacking: Callable[[date], Lacking | None]) -> Run:
    """Add how many symbols lack the session's bar to a run in which something failed."""
    stored = context.instance.get_run_by_id(run.run_id)
    session = None if stored is None else reports.session(stored.tags)
    if session is None or not (run.failed or run.outcome == "failure"):
        return run
    found = lacking(session)
    return run if found is None else replace(run, stale=found[0], expected=found[1])


def _lacking(platform: Platform, session: date) -> Lacking | None:
    try:
        found = coverage_as_of(platform.warehouse, platform.calendar, session, target=platform.settings.coverage_target)
    except QuantMatrixError:
        return None  # the alert matters more than the number
    return found.expected - found.fresh, found.expected

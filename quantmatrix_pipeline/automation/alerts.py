"""Sensors that tell people: a failed run, and a failed check, which leaves its run a success.

Both read the event log past a cursor, so that each event is told once, and beat at every tick, since a sensor that
dies is itself silent: `/health` and `qm doctor` say when a heartbeat is old.
"""

from collections.abc import Callable, Sequence

from dagster import (
    AssetCheckEvaluation,
    DagsterEventType,
    DagsterRun,
    DefaultSensorStatus,
    EventLogRecord,
    EventRecordsFilter,
    RunStatusChangeRecordsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.automation.causes import cause, found
from quantmatrix_pipeline.resources.notifier import Notifier
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.warehouse import coverage as tables
from quantmatrix_pipeline.warehouse import runs

FAILURES, CHECKS = "alert_on_failed_run", "alert_on_failed_check"
AT_ONCE = 50

Records = Sequence[EventLogRecord]
Told = SensorResult | SkipReason


def build() -> list[SensorDefinition]:
    """Return the alerting sensors."""

    @sensor(name=FAILURES, minimum_interval_seconds=30, default_status=DefaultSensorStatus.RUNNING)
    def alert_on_failed_run(context: SensorEvaluationContext, platform: Platform) -> SensorResult | SkipReason:
        """One message per failed run, with its root cause."""

        # The event, not the run's own time stamp: that one moves when a retry or a person puts a tag on the run.
        def failures(seen: int | None) -> Records:
            after = RunStatusChangeRecordsFilter(DagsterEventType.RUN_FAILURE, after_storage_id=seen)
            changes = context.instance.fetch_run_status_changes(after, limit=AT_ONCE, ascending=seen is not None)
            return changes.records

        runs.close_dead(platform.warehouse)
        return _tell(context, platform, failures, lambda records: _failed_runs(context, records))

    @sensor(name=CHECKS, minimum_interval_seconds=30, default_status=DefaultSensorStatus.RUNNING)
    def alert_on_failed_check(context: SensorEvaluationContext, platform: Platform) -> SensorResult | SkipReason:
        """One message per failed check evaluation, whether the check blocks or not."""

        def evaluations(seen: int | None) -> Records:
            after = EventRecordsFilter(DagsterEventType.ASSET_CHECK_EVALUATION, after_cursor=seen)
            return context.instance.get_event_records(after, limit=AT_ONCE, ascending=seen is not None)

        return _tell(context, platform, evaluations, _failed_checks)

    return [alert_on_failed_run, alert_on_failed_check]


def _tell(
    context: SensorEvaluationContext,
    platform: Platform,
    events_after: Callable[[int | None], Records],
    messages: Callable[[Records], list[str]],
) -> Told:
    """Send what the events since the last look have to say, and move the cursor past them."""
    tables.beat(platform.warehouse, context.sensor_name, clock.now())
    seen = int(context.cursor) if context.cursor else None
    records = events_after(seen)
    if seen is None:  # what happened before somebody listened is no news
        context.update_cursor(str(max((r.storage_id for r in records), default=0)))
        return SkipReason("listening from here on")
    if not records:
        return SkipReason("nothing happened since the last look")
    notifier = Notifier(platform.settings.discord_webhook)
    for message in messages(records):
        notifier.send(message)
    return SensorResult(cursor=str(max(r.storage_id for r in records)))


def _failed_runs(context: SensorEvaluationContext, records: Records) -> list[str]:
    messages = []
    for run_id in dict.fromkeys(record.run_id for record in records):
        run = context.instance.get_run_by_id(run_id)
        why = root_cause(context, run_id)
        # What a blocking check stopped is told by the check, with its counts.
        if run is not None and "DagsterAssetCheckFailedError" not in why:
            messages.append(
                f"FAILED {run.job_name} for {_sessions(run)}: {why}"
                f" (run {run_id[:8]}; press {run.job_name} again when it is mended)"
            )
    return messages


def _failed_checks(records: Records) -> list[str]:
    messages = []
    for record in records:
        event = record.event_log_entry.dagster_event
        evaluation = event.event_specific_data if event else None
        if isinstance(evaluation, AssetCheckEvaluation) and not evaluation.passed:
            messages.append(
                f"CHECK {evaluation.severity.value} {evaluation.asset_key.to_user_string()}.{evaluation.check_name}"
                f" failed: {found(evaluation.metadata)} (run {record.run_id[:8]})"
            )
    return messages


def _sessions(run: DagsterRun) -> str:
    tags = run.tags
    if "dagster/partition" in tags:
        return f"session {tags['dagster/partition']}"
    first, last = (tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))
    return f"sessions {first}..{last}" if first and last else "no session"


def root_cause(context: SensorEvaluationContext, run_id: str) -> str:
    """Return the cause of a failed run on one line."""
    for event_type in (DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE):
        for entry in context.instance.all_logs(run_id, of_type=event_type):
            data = entry.dagster_event.event_specific_data if entry.dagster_event else None
            if error := getattr(data, "error", None):
                return cause(error)
    return cause(None)

"""Sensors that tell people: a failed run, and a failed check, which leaves its run a success.

Both latch on a cursor of their own and beat at every tick, since a sensor that dies is itself silent: `/health` and
`qm doctor` say when a heartbeat is old.
"""

from dagster import (
    AssetCheckEvaluation,
    DagsterEventType,
    DagsterRunStatus,
    DefaultSensorStatus,
    EventRecordsFilter,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.resources.notifier import Notifier
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.warehouse import coverage as tables

FAILURES, CHECKS = "alert_on_failed_run", "alert_on_failed_check"
AT_ONCE = 50


def build() -> list[SensorDefinition]:
    """Return the alerting sensors."""

    @sensor(name=FAILURES, minimum_interval_seconds=30, default_status=DefaultSensorStatus.RUNNING)
    def alert_on_failed_run(context: SensorEvaluationContext, platform: Platform) -> SensorResult | SkipReason:
        """One message per failed run, with its root cause."""
        tables.beat(platform.warehouse, FAILURES, clock.now())
        seen = float(context.cursor) if context.cursor else clock.now().timestamp()
        failed = sorted(
            (
                r
                for r in context.instance.get_run_records(
                    RunsFilter(statuses=[DagsterRunStatus.FAILURE]), limit=AT_ONCE, order_by="update_timestamp"
                )
                if r.update_timestamp.timestamp() > seen
            ),
            key=lambda r: r.update_timestamp,
        )
        notifier = Notifier(platform.settings.discord_webhook)
        for record in failed:
            run = record.dagster_run
            notifier.send(
                f"FAILED {run.job_name} for session {run.tags.get('dagster/partition', 'range')}: "
                f"{root_cause(context, run.run_id)} (run {run.run_id[:8]}; press {run.job_name} again when it is mended)"
            )
        newest = max((r.update_timestamp.timestamp() for r in failed), default=seen)
        if not failed:
            context.update_cursor(str(newest))
            return SkipReason("no run failed since the last look")
        return SensorResult(cursor=str(newest))

    @sensor(name=CHECKS, minimum_interval_seconds=30, default_status=DefaultSensorStatus.RUNNING)
    def alert_on_failed_check(context: SensorEvaluationContext, platform: Platform) -> SensorResult | SkipReason:
        """One message per failed check evaluation, whether the check blocks or not."""
        tables.beat(platform.warehouse, CHECKS, clock.now())
        seen = int(context.cursor) if context.cursor else None
        records = context.instance.get_event_records(
            EventRecordsFilter(DagsterEventType.ASSET_CHECK_EVALUATION, after_cursor=seen),
            limit=AT_ONCE,
            ascending=seen is not None,
        )
        if seen is None:  # the first look sets the mark; what failed before somebody listened is no news
            context.update_cursor(str(max((r.storage_id for r in records), default=0)))
            return SkipReason("listening from here on")
        if not records:
            return SkipReason("no check was evaluated since the last look")
        failed = [e for r in records if not (e := _evaluation(r)).passed]
        if failed:
            notifier = Notifier(platform.settings.discord_webhook)
            for e in failed:
                shown = ", ".join(
                    f"{k}={v.value}" for k, v in e.metadata.items() if isinstance(v.value, str | int | float)
                )
                notifier.send(f"CHECK {e.severity.value} {e.asset_key.to_user_string()}.{e.check_name} failed: {shown}")
        return SensorResult(cursor=str(max(r.storage_id for r in records)))

    return [alert_on_failed_run, alert_on_failed_check]


def _evaluation(record: object) -> AssetCheckEvaluation:
    data = record.event_log_entry.dagster_event.event_specific_data  # type: ignore[attr-defined]
    assert isinstance(data, AssetCheckEvaluation)
    return data


def root_cause(context: SensorEvaluationContext, run_id: str) -> str:
    """Return the innermost error message of a failed run, on one line."""
    for event_type in (DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE):
        for entry in context.instance.all_logs(run_id, of_type=event_type):
            data = entry.dagster_event.event_specific_data if entry.dagster_event else None
            error = getattr(data, "error", None)
            while error is not None and error.cause is not None:
                error = error.cause
            if error is not None:
                return " ".join(error.message.split())[:500]
    return "no cause was recorded"

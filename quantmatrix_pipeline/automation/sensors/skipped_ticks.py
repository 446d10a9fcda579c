"""The sensor that launches what a schedule's newest tick had to skip, once what stood in its way is over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from dagster import (
    DagsterInstance,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.target import ExecutableDefinition
from dagster._core.scheduler.instigation import TickStatus

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.automation.facts import DagsterFacts
from quantmatrix_pipeline.automation.runs.under_way import outcome
from quantmatrix_pipeline.automation.schedules import request
from quantmatrix_pipeline.automation.sensors.declare import running_sensor
from quantmatrix_pipeline.coverage.attempts import Outcome
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.schedules.decide import Exchange, Skip, decide, may_pass
from quantmatrix_pipeline.schedules.entry import Catalogue
from quantmatrix_pipeline.warehouse import coverage as tables

SENSOR = "retry_skipped_ticks"


def build(jobs: Sequence[ExecutableDefinition], catalogue: Catalogue) -> list[SensorDefinition]:
    """Return the sensor; `jobs` are all that there are, and `catalogue` the entries that are schedules."""

    @running_sensor(SENSOR, every_seconds=60, jobs=jobs)
    def retry_skipped_ticks(context: SensorEvaluationContext, platform: Platform) -> SensorResult | SkipReason:
        """Decide anew about ticks that a preflight check or a run under way made be skipped, until the next tick comes.

        A tick launches one run at most, and how it ended is no matter here.
        """
        now = clock.now()
        tables.beat(platform.warehouse, SENSOR, now)
        exchange = Exchange(platform.calendar, platform.grace)
        facts = DagsterFacts(context.instance, platform)
        runs: list[RunRequest] = []
        waiting: list[str] = []
        for name, skipped_at in _skipped(context.instance):
            if (entry := catalogue.schedules.get(name)) is None:
                continue
            at = skipped_at.astimezone(entry.zone(exchange.zone))
            decided = decide(catalogue, name, at, now, exchange, facts)
            if isinstance(decided, Skip):
                waiting.append(f"{name} of {at:%Y-%m-%d %H:%M %Z}: {decided.reason}")
                continue
            run = request(catalogue, name, decided, at)
            if outcome(context.instance, str(run.run_key)) is Outcome.UNKNOWN:
                runs.append(run._replace(job_name=entry.job))
        if runs:
            return SensorResult(run_requests=runs)
        return SkipReason("; ".join(waiting) or "no tick waits for a preflight check, or for a run to end")

    return [retry_skipped_ticks]


def _skipped(instance: DagsterInstance) -> Iterator[tuple[str, datetime]]:
    """Yield each schedule that is on and whose newest tick was skipped for what may pass, and when that was."""
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE):
        if not state.is_running:
            continue
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1):
            if tick.status == TickStatus.SKIPPED and may_pass(tick.skip_reason or ""):
                yield state.instigator_name, datetime.fromtimestamp(tick.timestamp, UTC)

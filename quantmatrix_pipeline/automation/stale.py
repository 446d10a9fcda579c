"""The sensor that launches a stale-only backfill: once per stale set, with a cool-down."""

import hashlib
import json
from datetime import datetime, timedelta

from dagster import (
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.automation import jobs
from quantmatrix_pipeline.automation.turn import chain_has_had_its_turn
from quantmatrix_pipeline.coverage.report import coverage_as_of, stale_symbols
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.warehouse import coverage as tables

STALE = "backfill_stale_coverage"


def build() -> list[SensorDefinition]:
    """Return the sensor."""

    @sensor(
        name=STALE,
        job_name=jobs.BACKFILL_STALE,
        minimum_interval_seconds=60,
        default_status=DefaultSensorStatus.RUNNING,
    )
    def backfill_stale_coverage(context: SensorEvaluationContext, platform: Platform) -> SensorResult | SkipReason:
        """Fetch what is not fresh as of the newest closed session; the same stale set is tried once."""
        now = clock.now()
        tables.beat(platform.warehouse, STALE, now)
        session = platform.newest_session()
        report = coverage_as_of(
            platform.warehouse, platform.calendar, session, target=platform.settings.coverage_target
        )
        stale = stale_symbols(report)
        if not stale:
            return SkipReason(f"all {report.expected} expected instruments are fresh as of {session}")
        if not chain_has_had_its_turn(context.instance, platform.calendar, session, now):
            return SkipReason(f"{len(stale)} stale as of {session}, which has just closed; its chain comes first")
        if tables.newest(platform.warehouse) is None:
            return SkipReason("no chain has run yet: the first load is restore_daily_coverage's work")
        latch = json.loads(context.cursor) if context.cursor else {}
        fingerprint = hashlib.sha256(f"{session}|{','.join(stale)}".encode()).hexdigest()[:16]
        if latch.get("set") == fingerprint:
            return SkipReason(f"{len(stale)} stale as of {session}; a backfill for exactly these was launched already")
        cooldown = timedelta(minutes=platform.settings.stale_cooldown_minutes)
        if latch and now - datetime.fromisoformat(latch["at"]) < cooldown:
            return SkipReason(f"{len(stale)} stale as of {session}; cooling down since {latch['at']}")
        return SensorResult(
            run_requests=[
                RunRequest(
                    run_key=f"stale-{fingerprint}",
                    partition_key=str(session),
                    tags={"quantmatrix/session": str(session), "quantmatrix/stale": str(len(stale))},
                )
            ],
            cursor=json.dumps({"set": fingerprint, "at": now.isoformat()}),
        )

    return [backfill_stale_coverage]

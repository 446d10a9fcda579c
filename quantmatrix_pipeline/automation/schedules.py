"""The entries of the schedules file as Dagster's schedules."""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime, timedelta

import psutil
from dagster import (
    DefaultScheduleStatus,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.automation.facts import DagsterFacts
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.dagster_client.session_tags import SESSION, range_tags, written
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.schedules.decide import Exchange, Launch, Skip, decide
from quantmatrix_pipeline.schedules.entry import Catalogue
from quantmatrix_pipeline.schedules.file import FINGERPRINT, InForce
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import schedules as claims

SAME_SECONDS = 10.0


def build(settings: Settings, found: InForce) -> list[ScheduleDefinition]:
    """Return a schedule for each entry in force."""
    exchange = trading_calendar(settings.calendar).timezone
    return [_build(found, name, str(entry.zone(exchange))) for name, entry in found.catalogue.schedules.items()]


def _build(found: InForce, name: str, timezone: str) -> ScheduleDefinition:
    entry = found.catalogue.schedules[name]

    @schedule(
        name=name,
        job_name=entry.job,
        cron_schedule=entry.cron,
        execution_timezone=timezone,
        description=entry.description or f"Launches {entry.job}.",
        default_status=DefaultScheduleStatus.RUNNING if entry.enabled else DefaultScheduleStatus.STOPPED,
        tags={FINGERPRINT: found.fingerprint},
    )
    def tick(context: ScheduleEvaluationContext, platform: Platform) -> RunRequest | SkipReason:
        return _evaluate(found.catalogue, name, context, platform)

    return tick


def _evaluate(
    catalogue: Catalogue, name: str, context: ScheduleEvaluationContext, platform: Platform
) -> RunRequest | SkipReason:
    at = context.scheduled_execution_time
    exchange = Exchange(platform.calendar, platform.grace)
    decided = decide(catalogue, name, at, clock.now(), exchange, DagsterFacts(context.instance, platform))
    if isinstance(decided, Skip):
        return SkipReason(decided.reason)
    # A tick that somebody tries out in the UI has no number, launches nothing, and must take nothing from the daemon.
    number = context.log_key[-1] if context.log_key else ""
    if number.isdigit() and (holder := _taken(platform, name, at, number)):
        return SkipReason(f"already launched by another daemon ({holder}); there should be one")
    return request(catalogue, name, decided, at)


def _taken(platform: Platform, name: str, at: datetime, number: str) -> str | None:
    """Take a tick for this daemon, or return which other one has taken it."""
    by = claims.Evaluation(socket.gethostname(), os.getpid(), number)
    # Not the clock: claims are about processes, whatever QM_NOW says.
    holder, before = claims.claim(platform.warehouse, name, at, by, datetime.now(UTC), psutil.pid_exists)
    if holder is not None:
        return f"process {holder.pid} on {holder.host}, evaluation {holder.number}"
    if before is not None and before < timedelta(seconds=SAME_SECONDS):
        # A second daemon took this very evaluation for an interrupted one. When the first has launched its run, Dagster
        # finds that by the tick, and launches no other.
        time.sleep(SAME_SECONDS / 2)
    return None


def request(catalogue: Catalogue, name: str, launch: Launch, at: datetime) -> RunRequest:
    """Return the run of an entry's tick at `at`, in the entry's zone; its key is the tick's, whatever it is about."""
    entry = catalogue.schedules[name]
    tags = entry.run_tags(name)
    partition = None
    if launch.first is not None and launch.last is not None:
        tags[SESSION] = written(launch.first, launch.last)
        if launch.first == launch.last:
            partition = str(launch.first)
        else:
            tags |= range_tags(launch.first, launch.last)
    return RunRequest(
        run_key=f"{name}-{at.isoformat(timespec='minutes')}",
        run_config=entry.config,
        tags=tags,
        partition_key=partition,
    )

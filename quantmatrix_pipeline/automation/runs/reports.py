"""What Dagster knows of a run, as alerts want it: how it ended, why, for which session, what its checks found."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import date

from dagster import (
    AssetCheckEvaluation,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    MetadataValue,
    RepositoryDefinition,
    RunsFilter,
    TableMetadataValue,
)
from dagster._core.storage.tags import MAX_RUNTIME_SECONDS_TAG

from quantmatrix_pipeline.alerts.events import FAILURE, SLOW, FailedCheck, Run, Wishes
from quantmatrix_pipeline.assets.declare import OWNER
from quantmatrix_pipeline.automation.runs.failures import failure
from quantmatrix_pipeline.automation.runs.findings import found
from quantmatrix_pipeline.dagster_client.session_tags import sessions_in, written
from quantmatrix_pipeline.dagster_client.shown_tags import CHANNELS
from quantmatrix_pipeline.resources.counted import COUNTING, Counted
from quantmatrix_pipeline.settings.alerts import alias

log = logging.getLogger(__name__)

OUTCOMES = {
    DagsterRunStatus.SUCCESS: "success",
    DagsterRunStatus.FAILURE: "failure",
    DagsterRunStatus.CANCELED: "canceled",
}
ON, MUTE, SLOW_AFTER, POOL, SYMBOLS, PUSHED = (
    "qm/alert_on",
    "qm/mute",
    "qm/slow_after_s",
    "qm/pool",
    "qm/symbols",
    "qm/pushgateway",
)
SLOW_SHARE = 0.5  # of the time after which Dagster ends a run; where nothing else says when it is slow
# A range run has events per session: the counts of its last steps say what it did.
NEWEST_STEPS = 20
_NO_COUNTS = ("seconds", "share", "target")


def report(instance: DagsterInstance, run_id: str, repository: RepositoryDefinition | None, now: float) -> Run | None:
    """Return a run, ended or under way, as alerts want it; None where it was deleted.

    Parameters
    ----------
    repository
        Where its assets' owners are found.
    now
        Seconds since 1970, for the duration of a run that has not ended.
    """
    record = instance.get_run_record_by_id(run_id)
    if record is None:
        return None
    run = record.dagster_run
    why = failure(instance, run)
    outcome = OUTCOMES.get(run.status, "running") if why is None else "failure"
    failed, passed = ([], []) if outcome == "running" else _checks(instance, run_id)
    owned = {c.name.rsplit(".", 1)[0] for c in failed} or (set() if why is None else set(why.steps))
    return Run(
        run_id=run_id,
        job=run.job_name,
        outcome=outcome,
        what=covered(run),
        seconds=max(0.0, (record.end_time or now) - (record.start_time or record.end_time or now)),
        pool=run.tags.get(POOL, "default"),
        cause=None if why is None else why.cause,
        error=None if why is None else why.error,
        stopped_by_check=why is not None and why.stopped_by_check,
        timed_out=why is not None and why.timed_out,
        counters=_counters(instance, run_id) if outcome != "running" else {},
        symbols=tuple(s.strip() for s in run.tags.get(SYMBOLS, "").split(",") if s.strip()),
        failed=tuple(failed),
        passed=tuple(passed),
        owners=_owners(repository, run, owned),
        wishes=wishes(run.tags, instance.run_monitoring_max_runtime_seconds),
    )


def taking_long(instance: DagsterInstance, repository: RepositoryDefinition | None, now: float) -> list[Run]:
    """Return the runs under way that take longer than they are expected to; arguments as in `report`."""
    started = RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING])
    late = []
    for record in instance.get_run_records(started):
        limit = wishes(record.dagster_run.tags, instance.run_monitoring_max_runtime_seconds).slow_after_s
        if limit is not None and record.start_time is not None and now - record.start_time > limit:
            late.append(record.dagster_run.run_id)
    reports = [report(instance, run_id, repository, now) for run_id in late]
    return [run for run in reports if run is not None and run.outcome == "running"]


def wishes(tags: Mapping[str, str], max_runtime: float = 0) -> Wishes:
    """Return what tags say of a run's alerts; a tag that can't be read counts as absent.

    Parameters
    ----------
    max_runtime
        After how many seconds a run is ended whose tags do not say; 0: never.
    """
    named = tags.get(ON, f"{FAILURE} {SLOW}").replace("|", " ").replace(",", " ").split()
    ended_after = _seconds(tags, MAX_RUNTIME_SECONDS_TAG) or max_runtime
    return Wishes(
        on=frozenset(named),
        channels=_channels(tags.get(CHANNELS, "")),
        muted=tags.get(MUTE, "").lower() not in ("", "false", "0", "no"),
        slow_after_s=_seconds(tags, SLOW_AFTER) or SLOW_SHARE * ended_after or None,
        pushed=tags.get(PUSHED, "").lower() not in ("false", "0", "no"),
    )


def _seconds(tags: Mapping[str, str], name: str) -> float | None:
    try:
        return float(tags[name])
    except (KeyError, ValueError):
        return None


def _channels(tag: str) -> tuple[str, ...]:
    """Return the aliases that a tag names, without what is none: an address has no place where everybody reads it."""
    found: dict[str, None] = {}
    for name in tag.replace("|", " ").replace(",", " ").split():
        try:
            found[alias(name)] = None
        except ValueError as error:
            log.warning("the tag %s: %s", CHANNELS, error)
    return tuple(found)


def session(run_tags: Mapping[str, str]) -> date | None:
    """Return the newest session that a run covers."""
    found = sessions_in(run_tags)
    return None if found is None else found[1]


def covered(run: DagsterRun) -> str:
    """Say for which session or sessions a run is."""
    sessions = sessions_in(run.tags)
    if sessions is None:
        return "no session"
    return f"session{'s' * (sessions[0] != sessions[1])} {written(*sessions)}"


def _checks(instance: DagsterInstance, run_id: str) -> tuple[list[FailedCheck], list[str]]:
    failed: dict[str, FailedCheck] = {}
    passed: dict[str, None] = {}
    for entry in instance.all_logs(run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION):
        evaluation = entry.dagster_event.event_specific_data if entry.dagster_event else None
        if not isinstance(evaluation, AssetCheckEvaluation):
            continue
        name = f"{evaluation.asset_key.to_user_string()}.{evaluation.check_name}"
        if evaluation.passed:
            passed[name] = None
        else:
            severity = evaluation.severity.value
            failed[name] = FailedCheck(
                name, severity, found(evaluation.metadata), _symbols(evaluation.metadata.values())
            )
    return list(failed.values()), [name for name in passed if name not in failed]


def _symbols(metadata: Iterable[MetadataValue]) -> tuple[str, ...]:
    tables = [value for value in metadata if isinstance(value, TableMetadataValue)]
    named = [record.data.get("symbol") for table in tables for record in table.records]
    return tuple(dict.fromkeys(str(symbol) for symbol in named if symbol))


def _counters(instance: DagsterInstance, run_id: str) -> dict[str, int | float]:
    counted = Counted()
    for event_type in COUNTING:
        records = instance.get_records_for_run(run_id, of_type=event_type, limit=NEWEST_STEPS, ascending=False).records
        for record in reversed(records):
            if (event := record.event_log_entry.dagster_event) is not None:
                counted.add(event)
    return {
        f"{of} {_shown(name)}": value
        for of, numbers in counted.by_name().items()
        for name, value in numbers.items()
        if type(value) is int and _is_count(name)
    }


def _is_count(name: str) -> bool:
    return not name.startswith(_NO_COUNTS)


def _shown(name: str) -> str:
    return name.removeprefix("dagster/").replace("partition_row_count", "rows").replace("row_count", "rows")


def _owners(repository: RepositoryDefinition | None, run: DagsterRun, broken: Iterable[str]) -> tuple[str, ...]:
    """Return whose what broke is, else whose all is that the run makes; what makes no asset is everything's owner's."""
    if repository is None:
        return ()
    made = run.asset_selection
    if not made and repository.has_job(run.job_name):
        made = repository.get_job(run.job_name).asset_layer.selected_asset_keys
    whole = [key.to_user_string() for key in made or ()]
    return owners(repository, broken) or owners(repository, whole) or (OWNER,)


def owners(repository: RepositoryDefinition | None, assets: Iterable[str]) -> tuple[str, ...]:
    """Return the owners of assets; names that are none have none."""
    if repository is None:
        return ()
    graph = repository.asset_graph
    keys = {key.to_user_string(): key for key in graph.get_all_asset_keys()}
    return tuple(sorted({owner for name in assets if name in keys for owner in graph.get(keys[name]).owners}))

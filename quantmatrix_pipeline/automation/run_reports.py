"""What Dagster knows of a run, as alerts want it: how it ended, why, for which session, what its checks found."""

from __future__ import annotations

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
    TableMetadataValue,
)
from dagster_shared.error import SerializableErrorInfo

from quantmatrix_pipeline.alerts.events import FAILURE, SLOW, FailedCheck, Run, Wishes
from quantmatrix_pipeline.automation.causes import found
from quantmatrix_pipeline.dagster_client.session_tags import sessions_in, written
from quantmatrix_pipeline.resources.causes import cause, error_class
from quantmatrix_pipeline.settings.alerts import channel_names

OUTCOMES = {
    DagsterRunStatus.SUCCESS: "success",
    DagsterRunStatus.FAILURE: "failure",
    DagsterRunStatus.CANCELED: "canceled",
}
ON, CHANNELS, MUTE, SLOW_AFTER, POOL, SYMBOLS, PUSHED = (
    "qm/alert_on",
    "qm/channels",
    "qm/mute",
    "qm/slow_after_s",
    "qm/pool",
    "qm/symbols",
    "qm/pushgateway",
)
STOPPED_BY_CHECK = "DagsterAssetCheckFailedError"
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
    outcome = OUTCOMES.get(run.status, "running")
    error = _error(instance, run_id) if outcome == "failure" else None
    failed, passed = ([], []) if outcome == "running" else _checks(instance, run_id)
    owned = (
        {c.name.rsplit(".", 1)[0] for c in failed} or _failed_steps(instance, run_id)
        if outcome == "failure" or failed
        else set()
    )
    return Run(
        run_id=run_id,
        job=run.job_name,
        outcome=outcome,
        what=covered(run),
        seconds=max(0.0, (record.end_time or now) - (record.start_time or record.end_time or now)),
        pool=run.tags.get(POOL, "default"),
        cause=_cause(instance, run_id, error) if outcome == "failure" else None,
        error=error_class(error),
        stopped_by_check=error is not None and _innermost(error).cls_name == STOPPED_BY_CHECK,
        counters=_counters(instance, run_id) if outcome != "running" else {},
        symbols=tuple(s.strip() for s in run.tags.get(SYMBOLS, "").split(",") if s.strip()),
        failed=tuple(failed),
        passed=tuple(passed),
        owners=_owners(repository, owned or {key.to_user_string() for key in run.asset_selection or ()}),
        wishes=wishes(run.tags),
    )


def wishes(tags: Mapping[str, str]) -> Wishes:
    """Return what tags say of a run's alerts; a tag that can't be read counts as absent."""
    named = tags.get(ON, f"{FAILURE} {SLOW}").replace("|", " ").replace(",", " ").split()
    try:
        channels = channel_names(tags.get(CHANNELS, ""))
    except ValueError:
        channels = ()
    try:
        slow_after: float | None = float(tags[SLOW_AFTER])
    except (KeyError, ValueError):
        slow_after = None
    return Wishes(
        on=frozenset(named),
        channels=channels,
        muted=tags.get(MUTE, "").lower() not in ("", "false", "0", "no"),
        slow_after_s=slow_after,
        pushed=tags.get(PUSHED, "").lower() not in ("false", "0", "no"),
    )


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


def _error(instance: DagsterInstance, run_id: str) -> SerializableErrorInfo | None:
    for event_type in (DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE):
        for entry in instance.all_logs(run_id, of_type=event_type):
            data = entry.dagster_event.event_specific_data if entry.dagster_event else None
            if isinstance(error := getattr(data, "error", None), SerializableErrorInfo):
                return error
    return None


def _cause(instance: DagsterInstance, run_id: str, error: SerializableErrorInfo | None) -> str:
    if error is not None:
        return cause(error)
    # What the run monitoring ended left no error, only a message.
    for entry in instance.all_logs(run_id, of_type=DagsterEventType.RUN_FAILURE):
        if entry.dagster_event and entry.dagster_event.message:
            return " ".join(entry.dagster_event.message.split())
    return cause(None)


def _innermost(error: SerializableErrorInfo) -> SerializableErrorInfo:
    while error.cause is not None:
        error = error.cause
    return error


def _failed_steps(instance: DagsterInstance, run_id: str) -> set[str]:
    events = instance.all_logs(run_id, of_type=DagsterEventType.STEP_FAILURE)
    return {e.dagster_event.step_key for e in events if e.dagster_event and e.dagster_event.step_key}


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
    records = instance.get_records_for_run(
        run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION, limit=NEWEST_STEPS, ascending=False
    ).records
    counts: dict[str, int | float] = {}
    for record in reversed(records):
        materialization = record.asset_materialization
        if materialization is None:
            continue
        asset = materialization.asset_key.to_user_string()
        for name, value in materialization.metadata.items():
            if isinstance(value.value, int) and not isinstance(value.value, bool) and not name.startswith(_NO_COUNTS):
                shown = (
                    name.removeprefix("dagster/").replace("partition_row_count", "rows").replace("row_count", "rows")
                )
                counts[f"{asset} {shown}"] = value.value
    return counts


def _owners(repository: RepositoryDefinition | None, assets: Iterable[str]) -> tuple[str, ...]:
    if repository is None:
        return ()
    nodes = {
        key.to_user_string(): repository.asset_graph.get(key) for key in repository.asset_graph.get_all_asset_keys()
    }
    return tuple(sorted({owner for name in assets if name in nodes for owner in nodes[name].owners}))

"""`qm run`: the guided chain for one session or a range, in this process, with a report for an operator."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from quantmatrix_pipeline.dagster_client.session_tags import range_tags
from quantmatrix_pipeline.errors import ConfigurationError, QuantMatrixError, WarehouseUnavailable
from quantmatrix_pipeline.job_names import RESTORE
from quantmatrix_pipeline.resources.dagster_home import prepare
from quantmatrix_pipeline.settings import load

if TYPE_CHECKING:
    from dagster import ExecuteInProcessResult

    from quantmatrix_pipeline.resources.platform import Platform

Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]


@dataclass(slots=True)
class RunReport:
    """What a run of the chain did, in an operator's words."""

    first: str
    last: str
    source: str
    succeeded: bool
    seconds: float
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)  # asset -> its plain metadata
    step_seconds: dict[str, float] = field(default_factory=dict)
    failed_checks: dict[str, str] = field(default_factory=dict)  # name -> what it found
    error: str | None = None
    exit_code: int = 0
    dagster_seconds: float = 0.0


def run(
    session: Day = None,
    since: Day = None,
    until: Day = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Run the whole chain for a session (default: the newest the source can serve), or for --since .. --until."""
    if session and (since or until):
        raise ConfigurationError("name either --session or a range with --since and --until, not both")
    if until and not since:
        raise ConfigurationError("--until needs --since; for one session write --session")
    console = Console(stderr=as_json, soft_wrap=True)
    settings = load()
    with console.status("starting PostgreSQL and applying migrations"):
        applied = prepare(settings)
    if applied:
        console.print(f"database: applied {len(applied)} migrations", highlight=False)
    with console.status("loading Dagster"):
        from quantmatrix_pipeline.resources.platform import Platform

        platform = Platform()
        newest = platform.newest_session()
    first, last = _sessions(platform, session, since, until, newest)
    console.print(f"source: {platform.selection.provider.name} ({platform.selection.reason})", highlight=False)
    console.print(f"chain:  {first}" + ("" if first == last else f" .. {last}"), highlight=False)
    try:
        report = execute(platform, first, last, console)
    except Exception as error:
        from quantmatrix_pipeline.resources.dagster_storage import connection_failure

        if (said := connection_failure(error)) is None:
            raise
        raise WarehouseUnavailable(
            f"the database went away in mid-run ({said}); what was committed is kept: bring it up and run again"
        ) from error
    if as_json:
        typer.echo(json.dumps(asdict(report), default=str))
    else:
        _print(report, console)
    if not report.succeeded:
        failure = QuantMatrixError(report.error or "the chain failed; run it with --debug to see where")
        failure.exit_code = report.exit_code or failure.exit_code
        raise failure


def _sessions(
    platform: Platform, session: datetime | None, since: datetime | None, until: datetime | None, newest: date
) -> tuple[date, date]:
    calendar = platform.calendar
    if since:
        end = until.date() if until else newest
        inside = calendar.sessions_in(since.date(), end)
        if not len(inside):
            raise ConfigurationError(f"there is no session of {calendar.name} from {since:%Y-%m-%d} to {end}")
        first, last = inside[0].item(), inside[-1].item()
    else:
        first = last = calendar.require_session(session.date()) if session else newest
    if last > newest:
        raise ConfigurationError(
            f"{last} can't be run yet: the newest session that {platform.source.name} serves is {newest}"
        )
    if first < platform.settings.start_session:
        raise ConfigurationError(f"{first} lies before QM_START_SESSION={platform.settings.start_session}")
    return first, last


def execute(platform: Platform, first: date, last: date, console: Console) -> RunReport:
    """Run the guided chain in this process and return what it did."""
    from dagster import DagsterInstance

    from quantmatrix_pipeline.definitions import build_defs

    started = time.perf_counter()
    job = build_defs().resolve_job_def(RESTORE)
    run_id = str(uuid4())
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    tags = {} if first == last else range_tags(first, last)
    with DagsterInstance.get() as instance, Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("chain", total=len(job.nodes))

        def follow(entry: Any) -> None:
            event = entry.dagster_event
            if event is not None and event.is_step_start:
                progress.update(task, description=str(event.step_key))
            elif event is not None and event.is_step_success:
                progress.advance(task)

        instance.add_event_listener(run_id, follow)
        result = job.execute_in_process(
            instance=instance,
            partition_key=str(first) if first == last else None,
            tags=tags,
            run_id=run_id,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    report = RunReport(
        str(first), str(last), platform.source.name, result.success, round(time.perf_counter() - started, 3)
    )
    _collect(report, result)
    return report


def _collect(report: RunReport, result: ExecuteInProcessResult) -> None:
    from quantmatrix_pipeline.automation.runs.findings import found
    from quantmatrix_pipeline.resources.causes import cause, exit_code

    for event in result.all_events:
        if event.is_step_success:
            report.step_seconds[str(event.step_key)] = round(event.step_success_data.duration_ms / 1000, 3)
        elif event.is_step_failure:
            report.error = f"step {event.step_key}: {cause(event.step_failure_data.error)}"
            report.exit_code = exit_code(event.step_failure_data.error)
        elif event.event_type_value == "ASSET_MATERIALIZATION":
            metadata = event.materialization.metadata
            plain = {k: v.value for k, v in metadata.items() if isinstance(v.value, str | int | float | bool)}
            report.facts[event.materialization.asset_key.to_user_string()] = plain
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            evaluation = event.asset_check_evaluation_data
            if not evaluation.passed:
                name = f"{evaluation.asset_key.to_user_string()}.{evaluation.check_name}"
                report.failed_checks[name] = found(evaluation.metadata)
    ours = sum(float(facts.get("seconds", 0)) for facts in report.facts.values())
    report.dagster_seconds = round(report.seconds - ours, 3)


def _print(report: RunReport, console: Console) -> None:
    bars, history = report.facts.get("daily_bars", {}), report.facts.get("indicator_history", {})
    snapshots, coverage = report.facts.get("indicator_snapshots", {}), report.facts.get("coverage_report", {})
    if coverage:
        # Where no terminal is, the progress leaves an empty line behind.
        if console.is_terminal:
            console.print()
        console.print(coverage["headline"], style="bold", highlight=False, markup=False)
    rows = [
        ("bars", f"{bars.get('inserted', 0):,} written, {bars.get('revised', 0):,} revised, "
                 f"{bars.get('rejected', 0):,} rejected, {bars.get('flagged', 0):,} flagged"),
    ]  # fmt: skip
    if bars.get("repaired") or bars.get("repairs_suggested"):
        rows.append(("repairs", f"{bars.get('repaired', 0):,} made, {bars.get('repairs_suggested', 0):,} suggested "
                                "(`qm repairs list`)"))  # fmt: skip
    rows.append(("asked", str(bars.get("asked", "-"))))
    if bars.get("failed_symbols"):
        rows.append(("not served", f"{bars['failed_symbols']:,} symbols; {bars['first_failure']}"))
    rows.append(("snapshots", f"{snapshots.get('dagster/row_count', 0):,} ({snapshots.get('changed', 0):,} changed)"))
    rows.append(("history", f"{history.get('recorded', 0):,} recorded, {history.get('restated', 0):,} restated, "
                            f"{history.get('unchanged', 0):,} unchanged"))  # fmt: skip
    told = [f"{name} ({what})" for name, what in report.failed_checks.items()] or ["none"]
    rows += [("failed checks", line) for line in told]
    steps = {name: seconds for name, seconds in report.step_seconds.items() if name in report.facts}
    dagsters = f"{report.dagster_seconds:.1f} s of it Dagster's own (runs, events, checks)"
    rows.append(("time", f"{report.seconds:.1f} s, {dagsters}"))
    rows.append(("steps", ", ".join(f"{n} {s:.1f}" for n, s in steps.items())))
    _print_rows(rows, console)
    if report.succeeded:
        console.print(
            "\nnext: `qm status`, `qm coverage`, `make up` for the Dagster UI and the read API", highlight=False
        )


def _print_rows(rows: Sequence[tuple[str, str]], console: Console) -> None:
    """Print names and what is said of them: on a terminal within its width, else a line each, whatever its length."""
    if console.is_terminal:
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, said in rows:
            table.add_row(name, escape(said))
        console.print(table, highlight=False, soft_wrap=False)
        return
    for name, said in rows:
        console.print(f"{name:15}{said}", highlight=False, markup=False)

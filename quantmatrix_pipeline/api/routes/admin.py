"""`/market-data/admin` and its neighbours: launch what an operator presses, and follow it; for holders of a key."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from quantmatrix_pipeline import job_names
from quantmatrix_pipeline.api.admin import AdminOnly, RunningDagster
from quantmatrix_pipeline.api.former_names import SUCCESSORS
from quantmatrix_pipeline.api.models.admin import JobRun, Launched, StaleLaunched, Task, TaskRun
from quantmatrix_pipeline.api.parameters import End, IsoDate, Start, SymbolPath, ordered
from quantmatrix_pipeline.api.problems import documented, no_intraday_bars, refused
from quantmatrix_pipeline.api.tasks import TASKS, Launching
from quantmatrix_pipeline.coverage.report import coverage_as_of, stale_symbols
from quantmatrix_pipeline.dagster_client import ENDED, Dagster, Run, run, runs
from quantmatrix_pipeline.warehouse import reads

router = APIRouter(
    prefix="/market-data", tags=["admin"], dependencies=[AdminOnly], responses=documented(401, 403, 409, 422, 503)
)

LOOKED_AT = 200  # runs among which the newest of each job is looked for at once

Index = Annotated[Literal["SP500", "NASDAQ100", "DOW30", "R2000"], Query(description="the index")]
Session = Annotated[IsoDate | None, Query(description="the session; left out: the newest", examples=["2021-12-31"])]
ACCEPTED = HTTPStatus.ACCEPTED


# --- following --------------------------------------------------------------------------------------------------------


@router.get("/admin/jobs")
def jobs(
    dagster: RunningDagster,
    job: Annotated[str | None, Query(description="only runs of this job")] = None,
    status: Annotated[str | None, Query(description="only in this state, such as FAILURE", pattern="^[A-Z_]+$")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    before: Annotated[str | None, Query(description="id of a run: only those created before it")] = None,
) -> list[JobRun]:
    """Return the runs, newest first."""
    found = runs(dagster, job=job, statuses=[status] if status else (), limit=limit, before=before)
    return [_shown(dagster, each) for each in found]


@router.get("/admin/jobs/{run_id}", responses=documented(404))
def one_job(dagster: RunningDagster, run_id: Annotated[str, Path(pattern="^[0-9a-f-]{36}$")]) -> JobRun:
    """Return one run, as often as it takes until it has ended."""
    return _shown(dagster, run(dagster, run_id))


@router.get("/admin/tasks")
def tasks(dagster: RunningDagster) -> list[Task]:
    """Return what may be launched, and what became of each one's newest run."""
    newest: dict[str, Run] = {}
    for each in runs(dagster, limit=LOOKED_AT):
        newest.setdefault(each.job, each)
    last = {job: newest.get(job) or next(iter(runs(dagster, job=job, limit=1)), None) for job in TASKS}
    return [
        Task(
            task=job,
            takes_session=takes,
            former_names=[name for name, successor in SUCCESSORS.items() if successor.job == job],
            last=None if (found := last[job]) is None else _shown(dagster, found),
        )
        for job, takes in TASKS.items()
    ]


def _shown(dagster: Dagster, found: Run) -> JobRun:
    return JobRun(
        run_id=found.run_id,
        job=found.job,
        status=found.status,
        ended=found.status in ENDED,
        session=found.sessions,
        created_at=found.created_at,
        started_at=found.started_at,
        ended_at=found.ended_at,
        seconds=found.seconds,
        steps_succeeded=found.steps_succeeded,
        steps_failed=found.steps_failed,
        checks_failed=found.checks_failed,
        actor=found.tags.get("qm/actor"),
        tags=dict(found.tags),
        url=dagster.page(found.run_id),
    )


# --- launching --------------------------------------------------------------------------------------------------------


@router.post("/admin/tasks/run", status_code=ACCEPTED, responses=documented(501))
def run_task(
    launcher: Launching,
    wanted: TaskRun | None = None,
    task_name: Annotated[str | None, Query(description="the task, where there is no body")] = None,
) -> Launched:
    """Launch one of the jobs that `/admin/tasks` lists, under that name or a former one, configured as one likes."""
    if wanted is None:
        if task_name is None:
            raise refused([("task", "name one, in the body or as task_name=; /admin/tasks lists them")])
        wanted = TaskRun(task=task_name)
    return launcher.start_named(wanted.task, wanted.config, session=wanted.session, priority=wanted.priority)


@router.post("/admin/coverage/refresh", status_code=ACCEPTED)
def refresh_coverage(launcher: Launching, session: Session = None) -> Launched:
    """Work out the coverage again."""
    return launcher.start(job_names.REFRESH_COVERAGE, first=session)


@router.post("/admin/coverage/backfill-stale-daily", status_code=ACCEPTED)
def backfill_stale_daily(launcher: Launching) -> StaleLaunched:
    """Fetch what is stale as of the newest session, and say how many symbols that are."""
    session = launcher.newest_session()
    report = coverage_as_of(launcher.warehouse, launcher.calendar, session, target=launcher.settings.coverage_target)
    stale = len(stale_symbols(report))
    launched = launcher.start(job_names.BACKFILL_STALE, first=session) if stale else None
    return StaleLaunched(stale=stale, session=str(session), run=launched)


@router.post("/admin/coverage/restore-daily-tracked", status_code=ACCEPTED)
def restore_daily_tracked(launcher: Launching, session: Session = None) -> Launched:
    """Run the guided chain: members, tracked set, missing bars, indicators, history, coverage."""
    return launcher.start(job_names.RESTORE, first=session)


@router.post("/admin/backfill/index", status_code=ACCEPTED)
def backfill_index(launcher: Launching, index: Index) -> Launched:
    """Fetch what the members of an index lack."""
    return launcher.start(job_names.BACKFILL_INDEX, {"fetch_index": {"index": index}})


@router.post("/admin/indicators/refresh-index", status_code=ACCEPTED)
def refresh_index(launcher: Launching, index: Index, session: Session = None) -> Launched:
    """Compute the snapshots of an index's members again."""
    return launcher.start(
        job_names.RECOMPUTE, {"indicator_snapshots": {"scope": "index", "index": index}}, first=session
    )


@router.post("/admin/history/record", status_code=ACCEPTED)
def record_history(launcher: Launching, start: Start = None, end: End = None) -> Launched:
    """Record the history of a session or a range again, by default of the newest; only what differs is written."""
    ordered(start, end)
    return launcher.start(job_names.RECORD, first=start, last=end)


@router.post("/symbol/{symbol}/refresh", status_code=ACCEPTED, responses=documented(404))
def refresh_symbol(launcher: Launching, symbol: SymbolPath) -> Launched:
    """Fetch what one tracked symbol lacks, and bring its snapshot and history up to date."""
    return launcher.start(job_names.BACKFILL_SYMBOLS, {"fetch_symbols": {"symbols": [tracked(launcher, symbol)]}})


@router.post("/backfill/5m", responses=documented(501))
def backfill_5m() -> None:
    """Not offered yet: only daily bars are stored."""
    raise no_intraday_bars("5m")


@router.post("/retention/enforce", status_code=ACCEPTED)
def enforce_retention(
    launcher: Launching,
    max_days_5m: Annotated[int | None, Query(description="for QM_RETAIN_5M_DAYS in this run", ge=1)] = None,
    dry_run: Annotated[bool, Query(description="only say what would go")] = False,
) -> Launched:
    """Let go what is older than the settings keep it; daily bars and history are out of its reach."""
    return launcher.start(job_names.RETENTION, {"let_old_rows_go": {"dry_run": dry_run, "max_days_5m": max_days_5m}})


def tracked(launcher: Launching, symbol: str) -> str:
    """Return a tracked symbol as it is written here.

    Raises
    ------
    UnknownSymbol, RequestError
        Nobody bears it, or it is not tracked.
    """
    instrument = reads.find_instrument(launcher.warehouse, symbol)
    if not reads.symbol_coverage(launcher.warehouse, instrument.instrument_id)["tracked"]:
        raise refused([("symbol", f"{instrument.symbol} is not tracked; `qm symbols add {instrument.symbol}` does")])
    return instrument.symbol

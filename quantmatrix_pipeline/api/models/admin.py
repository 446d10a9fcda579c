"""Bodies of the routes that launch runs and follow them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from quantmatrix_pipeline.api.models.common import example
from quantmatrix_pipeline.api.models.operations import Component
from quantmatrix_pipeline.api.parameters import DayOrInstant, IsoDate


class Launched(BaseModel):
    """A run that waits in Dagster's queue, or runs already."""

    model_config = example(
        run_id="0b8f9d3c-5a55-4f53-9a2b-0c3a8a6a2f11", task="restore_daily_coverage", session="2021-12-31",
        follow="/api/v1/market-data/admin/jobs/0b8f9d3c-5a55-4f53-9a2b-0c3a8a6a2f11",
        url="http://127.0.0.1:3000/runs/0b8f9d3c-5a55-4f53-9a2b-0c3a8a6a2f11",
    )  # fmt: skip

    run_id: str
    task: str = Field(description="the job")
    session: str | None = Field(description="the session, or first..last, of a job that takes some")
    follow: str = Field(description="the path at which the run can be asked for")
    url: str = Field(description="its page in the Dagster UI")


class StaleLaunched(BaseModel):
    """How many symbols are stale, and the run that fetches them; none is launched where nothing is stale."""

    stale: int = Field(ge=0, description="symbols whose newest bar is not the session's")
    session: str = Field(description="as of which session")
    run: Launched | None


class JobRun(BaseModel):
    """A run as Dagster keeps it."""

    model_config = example(
        run_id="0b8f9d3c-5a55-4f53-9a2b-0c3a8a6a2f11", job="restore_daily_coverage", status="SUCCESS", ended=True,
        session="2021-12-31", created_at="2021-12-31T22:30:00Z", started_at="2021-12-31T22:30:02Z",
        ended_at="2021-12-31T22:31:40Z", seconds=98.0, steps_succeeded=15, steps_failed=0, checks_failed=0, actor="ann",
        tags={}, url="http://127.0.0.1:3000/runs/0b8f9d3c-5a55-4f53-9a2b-0c3a8a6a2f11",
    )  # fmt: skip

    run_id: str
    job: str
    status: str = Field(
        description="QUEUED, STARTING, STARTED, CANCELING; when it has ended SUCCESS, FAILURE, CANCELED"
    )
    ended: bool
    session: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None = Field(description="how long it took; null while it has not ended")
    steps_succeeded: int | None
    steps_failed: int | None
    checks_failed: int = Field(description="of its checks; those that block nothing leave it a SUCCESS")
    actor: str | None = Field(description="whose admin key launched it; null: a schedule, a sensor or the UI did")
    tags: dict[str, str]
    url: str = Field(description="its page in the Dagster UI")


class Task(BaseModel):
    """A job that may be launched over HTTP, and what became of its newest run."""

    task: str
    former_names: list[str] = Field(description="what else it may be called, as other systems did")
    takes_session: bool = Field(description="whether a run of it is about a session")
    last: JobRun | None = Field(description="null: it never ran")


class TaskRun(BaseModel):
    """What to launch."""

    model_config = example(
        task="recompute_indicators", session="2021-12-31",
        config={"indicator_snapshots": {"scope": "index", "index": "DOW30"}},
    )  # fmt: skip

    task: str = Field(description="one of the jobs that /admin/tasks lists, by its name or a former one")
    session: IsoDate | None = Field(None, description="of a job that takes one; left out: the newest")
    config: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="by op, as in the launchpad; left out: the job's defaults"
    )
    priority: int | None = Field(None, description="in Dagster's queue: the higher, the sooner", ge=-1000, le=1000)


class BackfillRequest(BaseModel):
    """Which bars to fetch."""

    model_config = example(symbol="AAPL", interval="1d", start="2021-01-04", end="2021-12-31T22:00:00Z", priority="T0")

    symbol: str = Field(description="a tracked symbol", pattern=r"^[!-~]{1,32}$")
    interval: Literal["1d", "5m", "1m"] = Field("1d", description="1d: no other bars are stored")
    start: DayOrInstant = Field(
        description="first session, inclusive; an instant, with its offset, stands for its day at the exchange"
    )
    end: DayOrInstant | None = Field(
        None, description="last session, inclusive, written likewise; left out: the newest closed one"
    )
    priority: Literal["T0", "T1", "T2"] | Annotated[int, Field(ge=-1000, le=1000)] = Field(
        "T2",
        description="the tier within whose limits it is fetched; or a number: within the symbol's own tier, the higher"
        " the sooner (what `qm backfill` asks for has 10)",
    )


class Checking(Launched):
    """A run of the checks, and beside it what the settings and the schedules file look like now."""

    model_config = ConfigDict(json_schema_extra=None)  # the example of what it extends lacks the findings

    findings: dict[str, Component] = Field(description="environment, schedules file, settings")


class Reloaded(BaseModel):
    """The running Dagster has loaded its definitions anew, for which no run is needed; and what is in force now."""

    model_config = example(
        reloaded="quantmatrix_pipeline", file="/etc/quantmatrix.env", without_effect={"QM_LOG_LEVEL": "LOG_LEVEL"},
        policies={"eod, eod_bulk": ["polygon", "yfinance"]}, vendors={"polygon": "key set, budget 5/min"},
        findings={"settings": {"state": "ok", "detail": "in force from /etc/quantmatrix.env"}},
    )  # fmt: skip

    reloaded: str = Field(description="the code location")
    file: str | None = Field(description="that QM_ENV_FILE names and that was read again; null: none is named")
    without_effect: dict[str, str] = Field(description="variables of the file -> the variable that wins")
    policies: dict[str, list[str]] = Field(description="capabilities -> who serves them, best first")
    vendors: dict[str, str] = Field(description="vendor -> whether its key is set, and its budget")
    findings: dict[str, Component] = Field(description="environment, schedules file, settings")

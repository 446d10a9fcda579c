"""Bodies of the routes that launch runs and follow them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from quantmatrix_pipeline.api.models.common import example
from quantmatrix_pipeline.api.parameters import IsoDate


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
    takes_session: bool = Field(description="whether a run of it is about a session")
    last: JobRun | None = Field(description="null: it never ran")


class TaskRun(BaseModel):
    """What to launch."""

    model_config = example(
        task="recompute_indicators", session="2021-12-31",
        config={"indicator_snapshots": {"scope": "index", "index": "DOW30"}},
    )  # fmt: skip

    task: str = Field(description="one of the jobs that /admin/tasks lists")
    session: IsoDate | None = Field(None, description="of a job that takes one; left out: the newest")
    config: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="by op, as in the launchpad; left out: the job's defaults"
    )
    priority: int | None = Field(None, description="in Dagster's queue: the higher, the sooner", ge=-1000, le=1000)


class BackfillRequest(BaseModel):
    """Which bars to fetch."""

    model_config = example(symbol="AAPL", interval="1d", start="2021-01-04", end="2021-12-31", priority=5)

    symbol: str = Field(description="a tracked symbol", pattern=r"^[!-~]{1,32}$")
    interval: Literal["1d"] = Field("1d", description="1d: no other bars are stored")
    start: IsoDate = Field(description="first session, inclusive")
    end: IsoDate | None = Field(None, description="last session, inclusive; left out: the newest closed one")
    priority: int = Field(0, description="in Dagster's queue: the higher, the sooner", ge=-1000, le=1000)


class Reloaded(BaseModel):
    """The running Dagster has loaded its definitions anew; no run is needed for that."""

    reloaded: str = Field(description="the code location", examples=["quantmatrix_pipeline"])

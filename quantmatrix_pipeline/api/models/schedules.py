"""Bodies of the schedules' routes."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quantmatrix_pipeline.schedules.entry import Entry, EntryName


class NamedEntry(Entry):
    """A new schedule."""

    name: EntryName = Field(description="its name")

    def entry(self) -> Entry:
        """Return it without its name."""
        return Entry.model_validate(self.model_dump(exclude={"name"}))


class TickBody(BaseModel):
    """The last evaluation of a schedule."""

    at: datetime
    status: str = Field(description="STARTED, SKIPPED, SUCCESS or FAILURE")
    note: str | None = Field(description="why it was skipped, or how it failed")
    run_ids: list[str]


class ScheduleBody(BaseModel):
    """A schedule: its entry, and what the running Dagster says of it."""

    name: str
    entry: Entry
    running: bool | None = Field(
        description="whether it ticks; null where Dagster can't be asked, or has not loaded it"
    )
    next_tick: datetime | None
    last_tick: TickBody | None


class SchedulesBody(BaseModel):
    """All schedules in force."""

    file: str = Field(description="where they were read")
    fault: str | None = Field(
        description="what is wrong with the file that should be in force; these are the last good; none: there are none"
    )
    live: bool = Field(description="whether Dagster has loaded exactly these")
    dagster: str | None = Field(description="why Dagster can't be asked; null: it can")
    schedules: list[ScheduleBody]


class ComingBody(BaseModel):
    """A tick to come."""

    local: datetime = Field(description="in the entry's zone")
    utc: datetime
    sessions: str | None = Field(description="what the run would be for: a session, or first..last")
    skipped: str | None = Field(description="why there will be no run")


class PreviewBody(BaseModel):
    """An entry's next ten ticks."""

    ticks: list[ComingBody]
    conditions: list[str] = Field(description="what else must hold at a tick, which only then can be known")


class ChangeBody(BaseModel):
    """What somebody did to a schedule."""

    at: datetime | None
    actor: str
    action: str = Field(description="create, update, delete, import, pause, resume or run_now")
    schedule: str
    difference: dict[str, tuple[Any, Any]] = Field(description="field -> what it was, what it is")
    run_id: str | None = Field(description="the run that was launched")
    error: str | None = Field(description="why none was launched")


class EditedBody(BaseModel):
    """What a change came to."""

    file: str | None = Field(description="where it was written; null: nothing was different")
    changes: list[ChangeBody]
    live: bool = Field(description="whether a running Dagster has loaded it")
    note: str | None = Field(description="why it has not")


class SwitchedBody(BaseModel):
    """A schedule that was paused or resumed."""

    name: str
    running: bool


class RunNow(BaseModel):
    """For which session a schedule's run is launched."""

    model_config = ConfigDict(extra="forbid")

    session: date | None = Field(None, description="left out: as the next tick would")

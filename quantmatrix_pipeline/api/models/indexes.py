"""Bodies of `/indexes`."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field


class Reach(BaseModel):
    """Days on which the members of an index are known."""

    index: str
    kind: Literal["spells", "lists"] = Field(
        description="by the stays that a source tells, or by the lists that were read night by night"
    )
    covered_from: date = Field(description="inclusive")
    covered_to: date = Field(description="inclusive")
    source: str


class Reaches(BaseModel):
    """How far the members of each index are known."""

    count: int
    data: list[Reach]


class IndexMember(BaseModel):
    """Who was in an index on a day."""

    symbol: str | None = Field(description="as the source writes it, or as it was borne on that day")
    instrument_id: int | None = Field(description="null where no instrument here ever bore that symbol")
    current_symbol: str | None
    name: str | None
    start_on: date = Field(description="first day of the stay; 1900-01-01: since before the source looked")
    end_on: date | None = Field(description="first day after it; null while it lasts")
    source: str


class IndexMembers(BaseModel):
    """The members of an index on a day, by symbol."""

    index: str
    on: date
    count: int
    data: list[IndexMember]

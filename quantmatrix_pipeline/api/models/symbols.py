"""Bodies of `/symbols`. Spans are of stored daily bars."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field


class Symbol(BaseModel):
    """One instrument under its current symbol."""

    symbol: str
    name: str | None
    kind: Literal["stock", "fund", "index", "crypto"]
    currency: str
    calendar: str = Field(description="the exchange calendar its sessions follow")
    sector: str | None
    industry: str | None
    listed_on: date | None
    delisted_on: date | None
    tracked: bool
    first_tracked: date | None
    first_session: date | None = Field(description="of its stored daily bars")
    last_session: date | None = Field(description="of its stored daily bars")


class Symbols(BaseModel):
    """All instruments, by symbol."""

    count: int
    data: list[Symbol]

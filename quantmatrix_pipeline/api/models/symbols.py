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
    currency: str = Field(description="of its prices")
    calendar: str = Field(description="the exchange calendar its sessions follow")
    exchange: str | None = Field(description="its common name, such as NASDAQ or NYSE; null until a vendor said it")
    sector: str | None = Field(description="as the list of index members says, else as a vendor does")
    industry: str | None
    sub_industry: str | None
    market_cap: float | None = Field(description="as of the newest answer of a vendor")
    market_cap_currency: str | None = Field(description="the currency of `market_cap`")
    next_earnings: date | None = Field(description="null where none is known or the known one has passed")
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


class Name(BaseModel):
    """A symbol that an instrument bears, or bore."""

    instrument_id: int
    symbol: str
    valid_from: date = Field(description="1900-01-01 stands for: since before anybody looked")
    valid_to: date | None = Field(description="the first day without the name; null while it is borne")
    name: str | None
    listed_on: date | None
    delisted_on: date | None
    source: str | None = Field(description="who said that the name was given up, or went over to another instrument")


class Names(BaseModel):
    """All names of every instrument that ever bore a symbol, by instrument and day."""

    symbol: str
    count: int
    data: list[Name]

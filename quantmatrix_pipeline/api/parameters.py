"""What routes take: the warehouse, dates, symbols; and the refusal of what they don't."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Path, Query, Request
from pydantic import BeforeValidator

from quantmatrix_pipeline.api.door import Door
from quantmatrix_pipeline.api.problems import refused
from quantmatrix_pipeline.settings import Reloading, Settings
from quantmatrix_pipeline.warehouse.engine import Warehouse

_DAY_OR_INSTANT = "write a day, such as 2021-12-31, or an instant with its offset, such as 2021-12-31T22:00:00Z"
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def iso_date(value: object) -> object:
    """Read a date strictly: lenient parsers take 20211231 for a count of seconds."""
    if isinstance(value, str):
        try:
            if _ISO_DATE.fullmatch(value):
                return date.fromisoformat(value)
        except ValueError:
            pass
        raise ValueError(f"{value!r} is no date; write YYYY-MM-DD, such as 2021-12-31")
    return value


def day_or_instant(value: object) -> object:
    """Read a day or an instant strictly, in the forms of ISO 8601: an instant without an offset would leave open which
    moment is meant.
    """
    if not isinstance(value, str):
        if isinstance(value, date):
            return value
        raise ValueError(f"{value!r} is no text; {_DAY_OR_INSTANT}")
    try:
        return date.fromisoformat(value)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value!r} is no day and no instant; {_DAY_OR_INSTANT}") from None
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no offset from UTC; {_DAY_OR_INSTANT}")
    return moment


async def _door(request: Request) -> Door:
    return request.app.state.door  # type: ignore[no-any-return]


async def _warehouse(request: Request) -> AsyncIterator[Warehouse]:
    door: Door = request.app.state.door
    with door.opened() as warehouse:
        yield warehouse


async def _settings(request: Request) -> Settings:
    return request.app.state.settings  # type: ignore[no-any-return]


class InForce(NamedTuple):
    """The settings as they are now, and why their file's present content is not what is in force, if it isn't."""

    settings: Settings
    refused: str | None


async def _in_force(request: Request) -> InForce:
    source: Settings | Reloading = request.app.state.settings_source
    if isinstance(source, Settings):
        return InForce(source, None)
    return InForce(source.current(), source.refused)


DayOrInstant = Annotated[date | datetime, BeforeValidator(day_or_instant)]
IsoDate = Annotated[date, BeforeValidator(iso_date)]
OpenDoor = Annotated[Door, Depends(_door)]
OpenWarehouse = Annotated[Warehouse, Depends(_warehouse)]
CurrentSettings = Annotated[InForce, Depends(_in_force)]
AppSettings = Annotated[Settings, Depends(_settings)]
_SYMBOL: dict[str, Any] = {
    "description": "a symbol, in any case; one that is borne now, or with asof was on that day",
    "examples": ["AAPL"],
    "pattern": r"^[!-~]{1,32}$",  # printable ASCII: BRK.B, BTC-USD, ^GSPC
}
SymbolPath = Annotated[str, Path(**_SYMBOL)]
SymbolQuery = Annotated[str, Query(**_SYMBOL)]
SessionPath = Annotated[IsoDate, Path(description="a session, YYYY-MM-DD", examples=["2021-12-31"])]
Asof = Annotated[
    IsoDate | None,
    Query(
        description="look the symbol up among the names of this day; left out: among those of now",
        examples=["2022-06-08"],
    ),
]
Start = Annotated[IsoDate | None, Query(description="first session, inclusive", examples=["2021-01-04"])]
End = Annotated[IsoDate | None, Query(description="last session, inclusive", examples=["2021-12-31"])]
Limit = Annotated[int | None, Query(description="at most this many rows, the newest", ge=1, le=100_000)]


def ordered(start: date | None, end: date | None) -> None:
    """Refuse a range that ends before it begins."""
    if start is not None and end is not None and start > end:
        raise refused([("start", f"{start} lies after end, {end}")])


async def known_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not take: a misspelt `strat=` must not be an answer without it."""
    route = request.scope["route"]
    allowed = [parameter.alias for parameter in route.dependant.query_params]
    if unknown := [name for name in dict.fromkeys(request.query_params) if name not in allowed]:
        takes = f"this route takes {', '.join(allowed)}" if allowed else "this route takes none"
        raise refused([(name, f"no such parameter; {takes}") for name in unknown])

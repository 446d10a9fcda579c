"""`as_of=`: an instant, as known at which a route answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import BeforeValidator

from quantmatrix_pipeline import clock

_HOW = "write an instant with its offset, such as 2021-12-31T22:00:00Z (a + must be sent as %2B)"


def instant(value: object) -> object:
    """Read an instant strictly: a day alone, or a time without an offset, would leave open which moment is meant."""
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value!r} is no instant; {_HOW}") from None
    if "T" not in value.upper():
        raise ValueError(f"{value!r} is a day and no instant; {_HOW}")
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no offset from UTC; {_HOW}")
    if moment > (now := clock.now()):
        raise ValueError(f"{value!r} lies ahead: it is {now.isoformat()}, and what will be known then is not known yet")
    return moment


Moment = Annotated[
    Annotated[datetime, BeforeValidator(instant)] | None,
    Query(
        description="as known at this instant, ISO 8601 with an offset and not ahead; left out: as known now",
        examples=["2021-12-31T22:00:00Z"],
    ),
]

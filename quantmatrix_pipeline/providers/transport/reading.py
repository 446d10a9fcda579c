"""From a body to typed values: a wrong type, a truncated text, a page instead of data are each a typed failure.

Vendors declare the shape of what they answer as `msgspec.Struct`s; the decoder then names the very place that is wrong.
Numbers that come as text are read as numbers; what is not finite is no number.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Protocol, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from quantmatrix_pipeline.bars.batch import BarBatch, Dates, Floats
from quantmatrix_pipeline.errors import MalformedResponse
from quantmatrix_pipeline.providers.answers import Instants
from quantmatrix_pipeline.providers.transport.calls import Answer, Call

T = TypeVar("T")
UTC_ZONE = ZoneInfo("UTC")

# A stamp beyond is no time in its unit.
UnixSeconds = Annotated[int, msgspec.Meta(ge=0, lt=1 << 33)]  # up to the year 2242
UnixMilliseconds = Annotated[int, msgspec.Meta(ge=0, lt=1 << 43)]  # up to the year 2248


class Priced(Protocol):
    """A row of an answer that has prices."""

    @property
    def open(self) -> float | None: ...

    @property
    def high(self) -> float | None: ...

    @property
    def low(self) -> float | None: ...

    @property
    def close(self) -> float | None: ...


def decode(vendor: str, call: Call, answer: Answer, shape: type[T]) -> T:
    """Return a JSON body as `shape`.

    Raises
    ------
    MalformedResponse
        If it is no JSON (truncated, an HTML page), or not of that shape; names the place.
    """
    try:
        return msgspec.json.decode(answer.content, type=shape, strict=False)
    except msgspec.ValidationError as error:
        what = f"{call.endpoint}: {error}"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        kind = answer.headers.get("content-type", "no content type").split(";")[0]
        what = f"{call.endpoint}: no JSON ({kind}, {len(answer.content)} bytes, {error}): {answer.text(80)!r}"
    raise MalformedResponse(vendor, what, symbol=call.symbol)


def decode_any(answer: Answer, shape: type[T]) -> T | None:
    """Return a JSON body as `shape`, None where it is something else: a refusal is looked for in every answer."""
    try:
        return msgspec.json.decode(answer.content, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def same_symbol(vendor: str, call: Call, asked: str, answered: str | None) -> None:
    """Refuse another symbol's answer; both as the vendor writes them. None (the answer does not say) passes.

    Raises
    ------
    MalformedResponse
        If they differ, but for case.
    """
    if answered is not None and answered.upper() != asked.upper():
        raise MalformedResponse(
            vendor, f"{call.endpoint}: asked for {asked}, answered with {answered}", symbol=call.symbol
        )


def finite(vendor: str, call: Call, name: str, values: Sequence[float | None]) -> Floats:
    """Return a column of numbers, all finite.

    Raises
    ------
    MalformedResponse
        At the first value that is missing, NaN or infinite; names row and column.
    """
    column = np.array([np.nan if v is None else v for v in values], np.float64)
    wrong = np.flatnonzero(~np.isfinite(column))
    if len(wrong):
        row = int(wrong[0])
        raise MalformedResponse(
            vendor, f"{call.endpoint}: row {row + 1}: {name} is {values[row]!r}, no number", symbol=call.symbol
        )
    return column


def prices(vendor: str, call: Call, rows: Sequence[Priced]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the columns open, high, low and close of rows, all finite.

    Raises
    ------
    MalformedResponse
        As `finite`.
    """
    return (
        finite(vendor, call, "open", [row.open for row in rows]),
        finite(vendor, call, "high", [row.high for row in rows]),
        finite(vendor, call, "low", [row.low for row in rows]),
        finite(vendor, call, "close", [row.close for row in rows]),
    )


def finite_or_none(value: float | None) -> float | None:
    """Return a number, None where it is not finite."""
    return value if value is not None and np.isfinite(value) else None


def positive(value: float | None) -> float | None:
    """Return a number above 0, else None: vendors write 0 where they know nothing."""
    return value if value is not None and np.isfinite(value) and value > 0 else None


def sessions(vendor: str, call: Call, texts: Sequence[str]) -> Dates:
    """Return dates written as `YYYY-MM-DD` (what follows is ignored), shape (n,), datetime64[D].

    Raises
    ------
    MalformedResponse
        At the first that is no date; names the row.
    """
    days = np.empty(len(texts), "datetime64[D]")
    for row, text in enumerate(texts):
        try:
            days[row] = date.fromisoformat(text[:10])
        except ValueError:
            raise MalformedResponse(
                vendor, f"{call.endpoint}: row {row + 1}: {text!r} is no date", symbol=call.symbol
            ) from None
    return days


def instants(vendor: str, call: Call, texts: Sequence[str], zone: ZoneInfo) -> Instants:
    """Return wall times of `zone` written as `YYYY-MM-DD HH:MM:SS` as UTC instants, shape (n,), datetime64[s].

    Raises
    ------
    MalformedResponse
        At the first that is no time; names the row.
    """
    found = np.empty(len(texts), "datetime64[s]")
    for row, text in enumerate(texts):
        try:
            at = datetime.fromisoformat(text)
            at = (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC_ZONE)
        except (ValueError, OverflowError):  # in UTC it may lie outside of the years 1 to 9999
            raise MalformedResponse(
                vendor, f"{call.endpoint}: row {row + 1}: {text!r} is no time", symbol=call.symbol
            ) from None
        found[row] = np.datetime64(at.replace(tzinfo=None), "s")
    return found


def one_symbol(symbol: str, session: Dates, columns: Sequence[Floats]) -> BarBatch:
    """Return daily bars of one symbol, ascending; `columns` are open, high, low, close, volume."""
    order = np.argsort(session, kind="stable")
    opened, high, low, close, volume = (column[order] for column in columns)
    return BarBatch((symbol,), np.zeros(len(session), np.int32), session[order], opened, high, low, close, volume)

"""FRED, the Federal Reserve Bank of St. Louis: macro series.

Values come as text, a day without one as "."; a refusal is HTTP 400 with a message, a bad key included.
"""

from __future__ import annotations

from datetime import date
from http import HTTPStatus

import msgspec
import numpy as np

from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    RateLimited,
    SymbolNotFound,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import MacroSeries
from quantmatrix_pipeline.providers.contract import Capability, Offer
from quantmatrix_pipeline.providers.symbols import to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.http import retry_after
from quantmatrix_pipeline.providers.transport.reading import decode, decode_any, sessions
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor

VENDOR = "fred"
MOST_ROWS = 100_000  # of one answer: 273 years of days
_DAY = 24 * 3600.0


class _Observation(msgspec.Struct):
    date: str
    value: str


class _Observations(msgspec.Struct):
    observations: list[_Observation]
    count: int


class _Refused(msgspec.Struct):
    error_code: int
    error_message: str


class Fred(HttpVendor):
    """Serves macro series in their latest vintage."""

    name = VENDOR

    async def macro_series(self, series: str, first: date, last: date) -> MacroSeries:
        call = observations_query(series, first, last)
        return await self.http.ask(call, lambda answer: read_observations(call, first, last, answer))


def connect(access: Access) -> Fred:
    """Return FRED as the settings reach it."""
    return Fred(access.http(VENDOR, refusal, key_name="api_key"), {Capability.MACRO: Offer()})


def observations_query(series: str, first: date, last: date) -> Call:
    """Transform a question for the observations of [first, last], both inclusive."""
    return Call(
        Capability.MACRO,
        "series/observations",
        "/series/observations",
        {
            "series_id": to_vendor(VENDOR, series),
            "file_type": "json",
            "observation_start": first.isoformat(),
            "observation_end": last.isoformat(),
            "sort_order": "asc",
            "limit": str(MOST_ROWS),
        },
        symbol=series,
        keep_seconds=_DAY,
    )


def read_observations(call: Call, first: date, last: date, answer: Answer) -> MacroSeries:
    """Transform an answer; a "." is a day for which the source has no value, and becomes NaN.

    A period that begins before `first` (a month, a quarter) is left out. The answer's `units` name a transformation,
    not what is measured, so none are given.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, shorter than it says it is, or its days do not ascend.
    """
    body = decode(VENDOR, call, answer, _Observations)
    if body.count > len(body.observations):
        what = f"{len(body.observations)} observations came of {body.count}; ask for a shorter stretch"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    day = sessions(VENDOR, call, [row.date for row in body.observations])
    back = np.flatnonzero(np.diff(day) <= np.timedelta64(0, "D"))
    if len(back):
        what = f"{call.endpoint}: row {back[0] + 2} is not of a later day than the one before it"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    value = np.array([_value(call, row, o.value) for row, o in enumerate(body.observations, 1)], np.float64)
    inside = (day >= np.datetime64(first, "D")) & (day <= np.datetime64(last, "D"))
    return MacroSeries(VENDOR, call.symbol or "", answer.learned_at, day[inside], value[inside])


def _value(call: Call, row: int, text: str) -> float:
    if text == ".":
        return np.nan
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        what = f"{call.endpoint}: row {row}: value is {text[:40]!r}, no number"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    return value


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that an answer carries; FRED says which only in words."""
    said = decode_any(answer, _Refused)
    if said is None:
        return None
    code, text = said.error_code, f"{call.endpoint}: {' '.join(said.error_message.split())}"
    if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return VendorUnavailable(VENDOR, text, symbol=call.symbol)
    if HTTPStatus.TOO_MANY_REQUESTS in (code, answer.status):
        return RateLimited(VENDOR, text, symbol=call.symbol, retry_after=retry_after(answer))
    if "api_key" in text:
        return AuthFailed(VENDOR, f"{text} Check FRED_API_KEY.")
    if "series does not exist" in text:
        return SymbolNotFound(VENDOR, text, symbol=call.symbol)
    return MalformedResponse(VENDOR, f"{text} ({code})", symbol=call.symbol)

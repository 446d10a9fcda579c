"""The screen's language: `column__operator=value`, `sort=[-]column`, `limit=n`, `as_of=instant`.

Its columns are those of the catalogue and what is known of the companies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any

from quantmatrix_pipeline.api.moment import instant
from quantmatrix_pipeline.api.parameters import iso_date
from quantmatrix_pipeline.api.problems import refused
from quantmatrix_pipeline.indicators.catalogue import CATALOGUE, Column
from quantmatrix_pipeline.warehouse.reads import COMPANY_TEXTS, Condition

COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "="}
MOST_ROWS = 100_000

Value = float | bool | str | date


@dataclass(frozen=True, slots=True)
class Screen:
    """What rows are wanted, in which order, how many."""

    conditions: tuple[Condition, ...] = ()
    sort: str = "symbol"
    descending: bool = False
    limit: int | None = None
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Filterable:
    """A column that can be compared: with which operators, how its value is read, how it is documented."""

    operators: tuple[str, ...]
    read: Callable[[str], Value]
    schema: dict[str, Any]
    meaning: str


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no finite number")
    return value


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _label(labels: tuple[str, ...], text: str) -> str:
    if text.upper() not in labels:
        raise ValueError(f"{text!r} is none of {', '.join(labels)}")
    return text.upper()


def _text(text: str) -> str:
    if not text.strip() or "\x00" in text:
        raise ValueError(f"{text!r} is no text to look for")
    return text.strip()


def _day(text: str) -> date:
    value = iso_date(text)
    assert isinstance(value, date)
    return value


def _filterable(column: Column, meaning: str) -> _Filterable:
    if column.kind == "bool":
        return _Filterable(("eq",), _flag, {"type": "boolean"}, meaning)
    if column.kind == "label":
        return _Filterable(
            ("eq",), partial(_label, column.labels), {"type": "string", "enum": list(column.labels)}, meaning
        )
    return _Filterable(tuple(COMPARISONS), _number, {"type": "number"}, meaning)


_DATE = {"type": "string", "format": "date"}
FILTERABLE: dict[str, _Filterable] = {
    "session": _Filterable(tuple(COMPARISONS), _day, _DATE, "session of the snapshot"),
    "close": _Filterable(tuple(COMPARISONS), _number, {"type": "number"}, "close"),
    **{
        name: _Filterable(("eq",), _text, {"type": "string", "minLength": 1}, "of the company, in any case")
        for name in COMPANY_TEXTS
    },
    "market_cap": _Filterable(
        tuple(COMPARISONS), _number, {"type": "number"}, "market cap in units of `market_cap_currency`"
    ),
    "next_earnings": _Filterable(tuple(COMPARISONS), _day, _DATE, "next earnings date that is known"),
} | {
    column.name: _filterable(column, f"{indicator.unit}: {indicator.formula}")
    for indicator in CATALOGUE
    for column in indicator.columns
}
SORTABLE = ("symbol", *FILTERABLE)


def parse(items: Iterable[tuple[str, str]]) -> Screen:
    """Read the query parameters of a screen; a filter that is given twice counts twice.

    Raises
    ------
    RequestError
        422, naming every parameter that was refused and what would be taken.
    """
    conditions: list[Condition] = []
    settings: dict[str, Any] = {}
    faults: list[tuple[str, str]] = []
    for name, text in items:
        try:
            if name == "sort":
                settings |= _sort(text)
            elif name == "limit":
                settings["limit"] = _limit(text)
            elif name == "as_of":
                settings["as_of"] = instant(text)
            else:
                conditions.append(_condition(name, text))
        except ValueError as error:
            faults.append((name, str(error)))
    if faults:
        raise refused(faults)
    return Screen(tuple(conditions), **settings)


def _condition(name: str, text: str) -> Condition:
    column, _, operator = name.partition("__")
    known = FILTERABLE.get(column)
    if known is None:
        raise ValueError(
            "no such filter; write column__operator=value, sort=[-]column, limit=n or as_of=instant, with the"
            f" operators {', '.join(COMPARISONS)} and the columns {', '.join(FILTERABLE)}"
        )
    if operator not in known.operators:
        raise ValueError(f"{column} can be compared by {', '.join(f'{column}__{o}' for o in known.operators)}")
    return column, COMPARISONS[operator], known.read(text)


def _sort(text: str) -> dict[str, Any]:
    column = text.removeprefix("-")
    if column not in SORTABLE:
        raise ValueError(f"{column!r} is no column; the columns are {', '.join(SORTABLE)}")
    return {"sort": column, "descending": text.startswith("-")}


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_ROWS:
        raise ValueError(f"{text!r} is no whole number from 1 to {MOST_ROWS}")
    return int(text)


def openapi_parameters() -> list[dict[str, Any]]:
    """Return the screen's query parameters as OpenAPI declares them, one per column and operator."""
    declared = [
        {
            "name": f"{name}__{operator}",
            "in": "query",
            "required": False,
            "schema": column.schema,
            "description": f"{name} {COMPARISONS[operator]} this ({column.meaning})",
        }
        for name, column in FILTERABLE.items()
        for operator in column.operators
    ]
    sort = [sign + name for name in SORTABLE for sign in ("", "-")]
    return [
        {
            "name": "sort",
            "in": "query",
            "required": False,
            "schema": {"type": "string", "enum": sort, "default": "symbol"},
            "description": "ascending by this column, descending with a minus before it; missing values come last",
        },
        {
            "name": "limit",
            "in": "query",
            "required": False,
            "schema": {"type": "integer", "minimum": 1, "maximum": MOST_ROWS},
            "description": "at most this many rows; all without it",
        },
        {
            "name": "as_of",
            "in": "query",
            "required": False,
            "schema": {"type": "string", "format": "date-time"},
            "description": "as known at this instant: the newest row that had been recorded; left out: as known now",
        },
        *declared,
    ]

"""Breadth of a market: of the instruments that have a bar on a session, how many rise, stand above their averages, make
new highs, or are in which stage. Declared in `BREADTH`, from which the table, the API and the docs page are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators import engine
from quantmatrix_pipeline.indicators.averages import TOLERANCE
from quantmatrix_pipeline.indicators.catalogue import (
    OWN,
    STAGE_FIRST_ROW,
    STAGE_LABELS,
    TEXTBOOK,
    WEINSTEIN,
    Column,
    Indicator,
)
from quantmatrix_pipeline.indicators.cross_section import newest_sessions, numbered
from quantmatrix_pipeline.indicators.panel import Bools, Dates, Floats, Panel
from quantmatrix_pipeline.indicators.sides import just_above

Counts = npt.NDArray[np.int64]

AVERAGES = (20, 50, 200)
YEAR = 252  # bars, the session's own among them, of which a new high is the highest
STAGE_COLUMNS = {label: f"stage_{label.lower()}" for label in (*STAGE_LABELS[1:], STAGE_LABELS[0])}

_INPUTS = ("perf_1d", *(f"sma_{n}" for n in AVERAGES), "stage_label")
_STILL = 100.0 * TOLERANCE  # percent: a close that moved by no more stands where it stood
_INSTRUMENTS_AT_ONCE = 256


def _count(name: str, formula: str, source: str, lookback: int = 0) -> Indicator:
    return Indicator(name, "count", lookback, formula, source, (Column(name, "count"),))


def _above(n: int) -> tuple[Indicator, ...]:
    share = f"100 above_sma_{n} / with_sma_{n}; empty where that is zero"
    pct = Indicator(f"pct_above_sma_{n}", "percent", n - 1, share, TEXTBOOK, (Column(f"pct_above_sma_{n}"),))
    return (
        _count(f"above_sma_{n}", f"instruments with C above SMA{n}", TEXTBOOK, n - 1),
        _count(f"with_sma_{n}", f"instruments that have an SMA{n}", OWN, n - 1),
        pct,
    )


BREADTH: tuple[Indicator, ...] = (
    _count("instruments", "instruments that count", OWN),
    _count("advances", "instruments with C above C[1]", TEXTBOOK, 1),
    _count("declines", "instruments with C below C[1]", TEXTBOOK, 1),
    _count("unchanged", "instruments with C equal to C[1]", TEXTBOOK, 1),
    *(indicator for n in AVERAGES for indicator in _above(n)),
    _count(f"new_highs_{YEAR}", f"instruments with H above those of the {YEAR - 1} bars before", TEXTBOOK, YEAR - 1),
    _count(f"new_lows_{YEAR}", f"instruments with L below those of the {YEAR - 1} bars before", TEXTBOOK, YEAR - 1),
    _count(f"with_{YEAR}_bars", f"instruments that have {YEAR} bars, this one included", OWN, YEAR - 1),
    *(
        _count(name, f"instruments whose stage_label is {label}", WEINSTEIN, STAGE_FIRST_ROW)
        for label, name in STAGE_COLUMNS.items()
        if label != STAGE_LABELS[0]
    ),
    _count(STAGE_COLUMNS[STAGE_LABELS[0]], f"instruments whose stage_label is {STAGE_LABELS[0]}", OWN),
)

BREADTH_COLUMNS = tuple(column for indicator in BREADTH for column in indicator.columns)


@dataclass(frozen=True, slots=True)
class MarketBreadth:
    """The breadth of some sessions; get one from `over_sessions` or `of_session`.

    Attributes
    ----------
    sessions
        Ascending; those on which any instrument has a bar.
    values
        Column of `BREADTH` -> shape (sessions,): whole numbers, but for shares, which are floats and NaN without an
        instrument to share among.
    """

    sessions: Dates
    values: Mapping[str, Counts | Floats]

    @classmethod
    def over_sessions(cls, panel: Panel, first: np.datetime64) -> MarketBreadth:
        """Count, in one pass, every session of the panel from `first` on, over all instruments of the panel."""
        due = panel.session >= first  # NaT beyond an instrument's life is never due
        day, sessions = numbered(panel, first)
        tally = _Tally(len(sessions))
        bars = np.flatnonzero(due.any(axis=1))
        if len(bars):
            extremes = _new_extremes(panel)
            for block in engine.blocks(panel, columns=_INPUTS, first_row=int(bars[0])):
                row, own = np.nonzero(due[block.row0 : block.row1, block.instruments])
                at = row + block.row0, own + block.instruments.start
                values = {name: block.values[row, place, own] for place, name in enumerate(_INPUTS)}
                tally.add(day[(panel.session[at] - first).astype(np.int64)], panel, at, values, extremes)
        return cls(sessions, tally.values())

    @classmethod
    def of_session(cls, panel: Panel, session: np.datetime64) -> MarketBreadth:
        """Count the last session of the panel alone, with the numbers that `over_sessions` has for it."""
        there = panel.select(np.flatnonzero(newest_sessions(panel) == session))
        tally = _Tally(min(there.width, 1))
        if there.width:
            at = there.length - 1, np.arange(there.width)
            values = dict(zip(_INPUTS, engine.last_rows(there, columns=_INPUTS), strict=True))
            tally.add(np.zeros(there.width, np.intp), there, at, values, _new_extremes(there))
        return cls(np.full(min(there.width, 1), session, "datetime64[D]"), tally.values())


class _Tally:
    """Counts by session, added to a part of the rows at a time."""

    def __init__(self, sessions: int) -> None:
        self._counts = {c.name: np.zeros(sessions, np.int64) for c in BREADTH_COLUMNS if c.kind == "count"}
        self._sessions = sessions

    def add(
        self,
        session: npt.NDArray[np.intp],
        panel: Panel,
        at: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
        values: Mapping[str, Floats],
        extremes: tuple[Bools, Bools],
    ) -> None:
        """Add the rows at (bar, instrument), each of the session of that number, with the engine's columns of them."""
        for name, flag in _flags(panel, at, values, extremes).items():
            self._counts[name] += np.bincount(session[flag], minlength=self._sessions)

    def values(self) -> dict[str, Counts | Floats]:
        """Return every column of `BREADTH`, in its order."""
        shares = {}
        for n in AVERAGES:
            among = self._counts[f"with_sma_{n}"]
            share = np.full(self._sessions, np.nan)
            np.divide(100.0 * self._counts[f"above_sma_{n}"], among, out=share, where=among > 0)
            shares[f"pct_above_sma_{n}"] = share
        every = self._counts | shares
        return {column.name: every[column.name] for column in BREADTH_COLUMNS}


def _flags(
    panel: Panel,
    at: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
    values: Mapping[str, Floats],
    extremes: tuple[Bools, Bools],
) -> dict[str, Bools]:
    """Return, for each column that counts, which of the rows it counts. Comparisons are relative to 1e-12."""
    move, close = values["perf_1d"], panel.close[at] / panel.unit[at]
    flags: dict[str, Bools] = {
        "instruments": np.ones(len(close), np.bool_),
        "advances": move > _STILL,
        "declines": move < -_STILL,
        "unchanged": np.absolute(move) <= _STILL,
        f"new_highs_{YEAR}": extremes[0][at],
        f"new_lows_{YEAR}": extremes[1][at],
        f"with_{YEAR}_bars": at[0] >= YEAR - 1,
    }
    for n in AVERAGES:
        average = values[f"sma_{n}"]
        flags |= {f"above_sma_{n}": close > just_above(average), f"with_sma_{n}": ~np.isnan(average)}
    for label, name in STAGE_COLUMNS.items():
        flags[name] = values["stage_label"] == STAGE_LABELS.index(label)
    return flags


def _new_extremes(panel: Panel) -> tuple[Bools, Bools]:
    """Return where a bar makes a new high and where a new low, shape (bars, n) each."""
    highs, lows = np.zeros(panel.close.shape, np.bool_), np.zeros(panel.close.shape, np.bool_)
    for start in range(0, panel.width, _INSTRUMENTS_AT_ONCE):
        some = slice(start, start + _INSTRUMENTS_AT_ONCE)
        highs[:, some] = _new_highs(np.ascontiguousarray(panel.high[:, some]))
        lows[:, some] = _new_highs(-panel.low[:, some])
    return highs, lows


def _new_highs(high: Floats) -> Bools:
    """Return where a bar is higher than each of the 251 before it; never where there are fewer."""
    found = np.zeros(high.shape, np.bool_)
    before = YEAR - 1
    if len(high) <= before:
        return found
    size, highest = 1, high  # highest[k]: of bars k .. k + size - 1
    while 2 * size <= before:
        highest = np.maximum(highest[size:], highest[:-size])
        size *= 2
    rest = before - size
    highest = np.maximum(highest[: len(highest) - rest], highest[rest:])
    found[before:] = high[before:] > just_above(highest[:-1])
    return found

"""Prices that are no prices (zero, negative, missing), and bars that only repeat the one before."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.bars.batch import FIELDS, Bools, Floats
from quantmatrix_pipeline.bars.repair.catalogue import MIN_CONFIDENCE, STALE, ZEROED
from quantmatrix_pipeline.bars.repair.finding import PRICES, Finding, Series
from quantmatrix_pipeline.bars.repair.second_source import Replacement, SecondSource, replacement
from quantmatrix_pipeline.bars.rules import BarRows

_WINDOW = 50  # bars whose habits tell how odd a repeat is; fewer than validation has as context
_MIN_BARS = 20


def zeroed(rows: BarRows, series: Series, faulty: Bools, broken: Bools, second: SecondSource) -> list[Finding]:
    """Find prices that a second source can give; `broken` are the rows without four positive prices."""
    found = []
    for row in np.flatnonzero(broken & rows.is_new).tolist():
        sound = tuple(name for name in PRICES if np.isfinite(getattr(rows, name)[row]) and getattr(rows, name)[row] > 0)
        theirs = replacement(rows, series, faulty, row, sound, second)
        if theirs is not None:
            found.append(Finding(row, ZEROED, theirs.confidence, theirs.values, evidence_of(theirs, second)))
    return found


def stale_bars(rows: BarRows, series: Series) -> tuple[Bools, Floats]:
    """Tell which rows repeat the bar before, and how surely that is no trade: two columns of shape (n,).

    A price that did not move all day is nothing odd where that happens often: the confidence is 1 - p^n with p the
    share of repeats among up to 50 bars before the run, (repeats + 1) / (bars + 2), and n the bars of the run so far.
    Judged are bars with at least 20 before their run. A bar that is surely no trade is no habit either, so
    that it makes no difference whether it was stored.
    """
    stale, confidence = np.zeros(len(rows), np.bool_), np.zeros(len(rows))
    at = series.at
    if len(at) < 2:
        return stale, confidence
    same_close = np.ones(len(at), np.bool_)
    same_bar = np.ones(len(at), np.bool_)
    for name in FIELDS:
        values = getattr(rows, name)[at]
        same_bar[1:] &= values[1:] == values[:-1]
        if name != "volume":
            same_close[1:] &= values[1:] == rows.close[at][:-1]
    same_close &= rows.volume[at] == 0
    same_bar &= rows.volume[at] > 0
    repeats = (same_close | same_bar) & series.follows() & ~rows.without_volume[series.instrument]
    repeats[1:] &= rows.unit[at][1:] == rows.unit[at][:-1]
    kept = np.ones(len(at), np.bool_)
    for place in np.flatnonzero(repeats).tolist():
        first = int(np.searchsorted(series.instrument, series.instrument[place]))
        begun = int(np.flatnonzero(~repeats[first : place + 1])[-1]) + first + 1
        usual = np.flatnonzero(kept[first:begun])[-_WINDOW:] + first
        if len(usual) >= _MIN_BARS:
            p = (int(repeats[usual].sum()) + 1) / (len(usual) + 2)
            stale[at[place]] = True
            confidence[at[place]] = 1 - p ** (place - begun + 1)
            kept[place] = confidence[at[place]] < MIN_CONFIDENCE
    return stale, confidence
    same_close = np.ones(len(at), np.bool_)
    same_bar = np.ones(len(at), np.bool_)
    for name in FIELDS:
        values = getattr(rows, name)[at]
        same_bar[1:] &= values[1:] == values[:-1]
        if name != "volume":
            same_close[1:] &= values[1:] == rows.close[at][:-1]
    same_close &= rows.volume[at] == 0
    same_bar &= rows.volume[at] > 0
    repeats = (same_close | same_bar) & series.follows() & ~rows.without_volume[series.instrument]
    repeats[1:] &= rows.unit[at][1:] == rows.unit[at][:-1]
    for place in np.flatnonzero(repeats):
        first = int(np.searchsorted(series.instrument, series.instrument[place]))
        run = int(place) - int(np.flatnonzero(~repeats[first : place + 1])[-1] + first)
        start = max(first, place - run + 1 - _WINDOW)
        before = int(place) - run + 1 - start
        if before >= _MIN_BARS:
            p = (int(repeats[start : place - run + 1].sum()) + 1) / (before + 2)
            stale[at[place]] = True
            confidence[at[place]] = 1 - p**run
    return stale, confidence


def stale(
    rows: BarRows, series: Series, faulty: Bools, found: Bools, confidence: Floats, second: SecondSource | None
) -> list[Finding]:
    """Return the findings of repeated bars: what a second source says of them or, where none does, nothing."""
    result = []
    for row in np.flatnonzero(found & rows.is_new).tolist():
        sure = float(confidence[row])
        theirs = None if second is None else replacement(rows, series, faulty, row, (), second)
        if theirs is not None and theirs.values[1] > theirs.values[2] and theirs.confidence >= 0.5:
            assert second is not None
            sure = min(sure, theirs.confidence)
            result.append(Finding(row, STALE, sure, theirs.values, evidence_of(theirs, second)))
        else:
            result.append(Finding(row, STALE, sure, None, {"repeats": "the bar before it"}))
    return result


def evidence_of(theirs: Replacement, second: SecondSource) -> dict[str, object]:
    """Return what a replacement rests on."""
    return {
        "second_source": second.vendor,
        "fields": list(theirs.fields),
        "largest_difference": round(theirs.difference, 6),
        "bars_compared": theirs.neighbours,
    }

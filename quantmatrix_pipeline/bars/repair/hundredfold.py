"""Single prices a hundred times off: fields of a bar, beside its other fields and the bars on both sides.

Whole bars and stretches of them are found by their two ends, in `stretches`.
"""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.bars.batch import Bools, Floats
from quantmatrix_pipeline.bars.repair.catalogue import HUNDREDFOLD
from quantmatrix_pipeline.bars.repair.finding import PRICES, Finding, Places, Series, in_order
from quantmatrix_pipeline.bars.rules import BarRows

LOG_HUNDRED = float(np.log(100.0))
ONE_SIDED = 0.8  # of a confidence that rests on neighbours on one side only
_SUSPECT = LOG_HUNDRED / 2  # a price nearer to 100 times its neighbour than to that neighbour
_REACH = 3  # neighbours on each side; their median withstands one that is off itself


def hundredfold_fields(rows: BarRows, series: Series) -> list[Finding]:
    """Find prices that a factor of 100 brings back among their neighbours."""
    if len(series) < 2:
        return []
    places = np.flatnonzero(_suspects(series))
    before, after = neighbour_levels(series, places)
    own = series.logs[:, places]
    around = np.where(np.isnan(before), after, np.where(np.isnan(after), before, (before + after) / 2))
    power = np.clip(np.rint((own - around) / LOG_HUNDRED), -1, 1)
    mended = own - power * LOG_HUNDRED
    remaining = np.fmax(np.abs(mended - before), np.abs(mended - after)).max(axis=0)
    confidence = 1 - remaining / LOG_HUNDRED
    confidence[(np.isnan(before) | np.isnan(after)) & (power != 0).all(axis=0)] *= ONE_SIDED
    found = []
    for n in np.flatnonzero((power != 0).any(axis=0) & (confidence > 0)):
        row = int(series.at[places[n]])
        prices = [
            float(getattr(rows, name)[row] * 100.0 ** -power[k, n]) if power[k, n] else float(getattr(rows, name)[row])
            for k, name in enumerate(PRICES)
        ]
        if not in_order(tuple(prices)):
            continue
        wrong = [name for k, name in enumerate(PRICES) if power[k, n]]
        evidence = {
            "fields": wrong,
            "log_distance_left": round(float(remaining[n]), 6),
            "sides": int(np.isfinite(before[n])) + int(np.isfinite(after[n])),
        }
        open_, high, low, close = prices
        repaired = (open_, high, low, close, float(rows.volume[row]))
        found.append(Finding(row, HUNDREDFOLD, float(confidence[n]), repaired, evidence))
    return found


def _suspects(series: Series) -> Bools:
    """Tell which bars have a price far off another one of theirs, or off the bar before or after."""
    least, greatest, close = series.logs.min(axis=0), series.logs.max(axis=0), series.logs[3]
    result: Bools = greatest - least > _SUSPECT
    jumped = series.follows()
    jumped[1:] &= np.maximum(greatest[1:] - close[:-1], close[:-1] - least[1:]) > _SUSPECT
    result |= jumped
    result[:-1] |= jumped[1:]
    return result


def neighbour_levels(series: Series, places: Places) -> tuple[Floats, Floats]:
    """Return the median price of up to three bars before and after each of some bars, as logarithms; NaN for no bar."""
    reach = np.arange(1, _REACH + 1)
    return _level(series, places, -reach), _level(series, places, reach)


def _level(series: Series, places: Places, offsets: Places) -> Floats:
    at = places[:, None] + offsets
    inside = (at >= 0) & (at < len(series))
    at = np.where(inside, at, places[:, None])
    inside &= series.instrument[at] == series.instrument[places][:, None]
    # Of a bar with one price off the middle of its four prices is not.
    level = np.sort(series.logs[:, at], axis=0)[1:3].mean(axis=0)
    level[~inside] = np.nan
    result = np.full(len(places), np.nan)
    some = inside.any(axis=1)
    result[some] = np.nanmedian(level[some], axis=1)
    return result

"""Stretches of bars in another unit than the bars on both sides: a hundredth of the currency, or other shares.

Such a stretch has two ends: the price steps by a factor where it begins and by the same factor back where it ends. The
step is taken from the close before to the open after, over night, where a price moves least. A factor that is a
hundred is one of currency, and volume stays; any other is one of shares, and volume moves against the price.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from quantmatrix_pipeline.bars.batch import Bools, Dates, Floats, Ints
from quantmatrix_pipeline.bars.repair.catalogue import HUNDREDFOLD, SPLIT_UNIT
from quantmatrix_pipeline.bars.repair.finding import PRICES, Finding, Places, Series
from quantmatrix_pipeline.bars.repair.hundredfold import ONE_SIDED
from quantmatrix_pipeline.bars.rules import BarRows

# New shares per old one, as companies choose them; each also the other way round.
RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0)
HUNDRED = 100.0
_SCALES = (*RATIOS, HUNDRED)
_FACTORS = np.log(np.array(_SCALES))
_GAPS = np.fmin(
    np.diff(_FACTORS, prepend=0.0), np.diff(_FACTORS, append=np.inf)
)  # to the nearest other factor, or none
_LONGEST = 60  # bars of a stretch; what lasts longer is no slip, and validation has no more context
_STEP = float(np.log(1.35))  # a smaller step is none of the factors
_DEPARTS = 0.15  # share by which the step back may differ from the step
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, slots=True)
class KnownSplits:
    """Splits that are known, shape (m,) each, in any order.

    Attributes
    ----------
    instrument_index, ex_date
        Of the instrument as in the rows, and the first day on which the new shares trade.
    ratio
        New shares per old one.
    """

    instrument_index: Ints
    ex_date: Dates
    ratio: Floats

    @classmethod
    def none(cls) -> KnownSplits:
        return cls(np.empty(0, np.int32), np.empty(0, "datetime64[D]"), np.empty(0))


def stretches(rows: BarRows, series: Series, splits: KnownSplits, adjusted: Bools) -> list[Finding]:
    """Find stretches in another unit.

    Parameters
    ----------
    rows, series
        The bars, and the sequence of those that have prices.
    splits
        Known ones: all bars before one may be in the wrong unit, without a step where the stretch begins.
    adjusted
        Shape (n,): rows whose source adjusted their prices for splits.
    """
    if len(series) < 2:
        return []
    step = np.zeros(len(series))
    step[1:] = series.logs[0, 1:] - series.logs[3, :-1]
    step[~series.follows()] = 0.0
    ends = np.flatnonzero(np.abs(step) > _STEP)
    stretches_found = {
        (start, end): mended
        for start, end in _pairs(ends, step, series)
        if (mended := _mended(rows, series, np.arange(start, end), float(step[start]), float(step[end])))
    }
    explained = {place for pair in stretches_found for place in pair}
    unexplained = ends[~np.isin(ends, list(explained))]
    found: list[Finding] = []
    for (start, end), mended in stretches_found.items():
        sure = 1.0 if not _between_two(start, end, unexplained, step, series) else ONE_SIDED
        found += [replace(finding, confidence=finding.confidence * sure) for finding in mended]
    for at in unexplained.tolist() if len(splits.ex_date) else []:
        found += _before_known_split(rows, series, at, float(step[at]), splits, adjusted)
    return found


def _pairs(ends: Places, step: Floats, series: Series) -> list[tuple[int, int]]:
    """Return where a stretch may begin and end: each step with the first one after it that takes it back."""
    found = []
    taken: set[int] = set()
    for n, start in enumerate(ends.tolist()):
        if start in taken:
            continue
        for end in ends[n + 1 :].tolist():
            if series.instrument[end] != series.instrument[start] or end - start > _LONGEST:
                break
            if end not in taken and abs(step[start] + step[end]) <= _DEPARTS * abs(step[start]):
                found.append((start, end))
                taken |= {start, end}
                break
    return found


def _between_two(start: int, end: int, others: Places, step: Floats, series: Series) -> bool:
    """Tell whether the stretch may rather be what lies between two others: another step near it would end one of them.

    `others` are steps that no stretch explains so far.
    """
    near = others[(others > start - _LONGEST) & (others < end + _LONGEST)]
    near = near[series.instrument[near] == series.instrument[start]]
    before, after = near[near < start], near[near > end]
    opposite = [step[before] + step[start], step[after] + step[end]]
    return any((np.abs(sum_) <= abs(step[start]) / 2).any() for sum_ in opposite)


def _mended(rows: BarRows, series: Series, stretch: Places, entry: float, exit_: float) -> list[Finding]:
    """Return the findings of a stretch that begins and ends with a step, none where no factor explains both."""
    size = abs(entry - exit_) / 2
    which = int(np.argmin(np.abs(_FACTORS - size)))
    factor = float(_FACTORS[which])
    signed = factor if entry > 0 else -factor
    remaining = max(abs(entry - signed), abs(exit_ + signed))
    confidence = min(1 - remaining / factor, 1 - abs(size - factor) / float(_GAPS[which]))
    if confidence <= 0 or _torn(series, stretch, factor):
        return []
    scale = _SCALES[which] if entry > 0 else 1 / _SCALES[which]
    evidence: dict[str, object] = {
        "factor": scale,
        "bars": len(stretch),
        "step_in": round(entry, 6),
        "step_out": round(exit_, 6),
    }
    return _rescaled(rows, series, stretch, scale, confidence, evidence)


def _torn(series: Series, stretch: Places, factor: float) -> bool:
    """Tell whether some bar's own prices lie apart by half the factor or more: then not all of it is off."""
    own = series.logs[:, stretch]
    return bool((own.max(axis=0) - own.min(axis=0) >= factor / 2).any())


def _rescaled(
    rows: BarRows, series: Series, stretch: Places, scale: float, confidence: float, evidence: Mapping[str, object]
) -> list[Finding]:
    """Return a finding per bar of a stretch whose prices are `scale` times what they should be; `scale` may be < 1."""
    hundred = scale in (HUNDRED, 1 / HUNDRED)
    by = scale if scale > 1 else round(1 / scale, 12)  # the whole ratio, so that what was multiplied divides exactly
    found = []
    for row in series.at[stretch].tolist():
        open_, high, low, close = (
            float(getattr(rows, name)[row]) / by if scale > 1 else float(getattr(rows, name)[row]) * by
            for name in PRICES
        )
        volume = float(rows.volume[row])
        if not hundred:
            volume = volume * by if scale > 1 else volume / by
        rule = HUNDREDFOLD if hundred else SPLIT_UNIT
        found.append(Finding(row, rule, confidence, (open_, high, low, close, volume), evidence))
    return found


def _before_known_split(
    rows: BarRows, series: Series, start: int, step: float, splits: KnownSplits, adjusted: Bools
) -> list[Finding]:
    """Return findings for all new bars before a known split on whose ex-date the price steps by just its ratio."""
    row = int(series.at[start])
    earlier = int(series.at[start - 1])
    on_it = (
        (splits.instrument_index == series.instrument[start])
        & (splits.ex_date > rows.session[earlier])
        & (splits.ex_date <= rows.session[row])
    )
    first = int(np.searchsorted(series.instrument, series.instrument[start]))
    stretch = np.arange(first, start)
    if on_it.sum() != 1 or not rows.is_new[series.at[stretch]].all():
        return []  # stored bars before it would have shown another step
    ratio = float(splits.ratio[on_it][0])
    scale = ratio if step * np.log(ratio) < 0 else 1 / ratio  # by how much the earlier bars are off
    size = abs(float(np.log(ratio)))
    remaining = abs(step + float(np.log(scale)))
    confidence = 1 - remaining / size if size else 0.0
    if not adjusted[earlier]:
        confidence *= ONE_SIDED
    if confidence <= 0 or _torn(series, stretch, size):
        return []
    evidence: dict[str, object] = {"factor": scale, "bars": len(stretch), "step": round(step, 6)}
    evidence["split_known_on"] = str(splits.ex_date[on_it][0])
    return _rescaled(rows, series, stretch, scale, confidence, evidence)

"""The rules of a bar as slowly and literally as they read, in exact arithmetic: the reference of the tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median

SOFT_CODES = {"extreme_move": 50, "volume_spike": 20, "volume_drop": 10, "gap": 0, "split_like": 0}
HELD = 80  # at most, where a gap is as large as a common split
COMMON = (*range(2, 11), 12, 15, 20, 25, 30, 40, 50, 100, 3 / 2, 4 / 3, 5 / 4, 5 / 2)


@dataclass
class Bar:
    """One row; prices are what their shortest decimal form says, so that a cent is a cent."""

    instrument: int
    session: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    unit: Fraction = Fraction(1)
    is_new: bool = True

    @property
    def values(self) -> tuple[str, ...]:
        numbers = (self.open, self.high, self.low, self.close, self.volume)
        return (*map(repr, numbers), str(self.unit))


def paper(number: float) -> Fraction:
    return Fraction(repr(float(number)))


def hard_codes(bar: Bar, sessions: set[str], *, without_volume: bool) -> set[str]:
    found = set()
    prices = (bar.open, bar.high, bar.low, bar.close)
    volume_known = math.isfinite(bar.volume) or (without_volume and math.isnan(bar.volume))
    if not all(map(math.isfinite, prices)) or not volume_known:
        found.add("not_finite")
    if any(price <= 0 for price in prices):
        found.add("not_positive")
    if bar.volume < 0:
        found.add("negative_volume")
    if bar.high < bar.open or bar.high < bar.close:
        found.add("high_below_open_close")
    if bar.low > bar.open or bar.low > bar.close:
        found.add("low_above_open_close")
    if bar.high < bar.low:
        found.add("high_below_low")
    if bar.session not in sessions:
        found.add("not_a_session")
    return found


def literal_codes(bars: Sequence[Bar], sessions: set[str], without_volume: Sequence[bool]) -> list[set[str]]:
    """Return the reason codes of each bar; empty for context bars."""
    found = [hard_codes(bar, sessions, without_volume=without_volume[bar.instrument]) for bar in bars]
    sound_new: dict[tuple[int, str], list[int]] = {}
    for i, bar in enumerate(bars):
        if bar.is_new and not found[i]:
            sound_new.setdefault((bar.instrument, bar.session), []).append(i)
    for repeats in sound_new.values():
        if len({bars[i].values for i in repeats}) > 1:
            for i in repeats:
                found[i].add("conflicting_duplicate")
        else:
            for i in repeats[1:]:
                found[i].add("duplicate")
    replaced = {key for key, repeats in sound_new.items() if any(not found[i] for i in repeats)}
    series: dict[int, list[Bar]] = {}
    for i, bar in enumerate(bars):
        if found[i] or (not bar.is_new and (bar.instrument, bar.session) in replaced):
            continue
        before = series.setdefault(bar.instrument, [])
        found[i] |= soft_codes(bar, before, without_volume=without_volume[bar.instrument])
        before.append(bar)
    return [codes if bar.is_new else set() for bar, codes in zip(bars, found, strict=True)]


def soft_codes(bar: Bar, before: Sequence[Bar], *, without_volume: bool) -> set[str]:
    found: set[str] = set()
    if before:
        previous_close = paper(before[-1].close) * before[-1].unit
        if abs(paper(bar.close) * bar.unit / previous_close - 1) > 5:
            found.add("extreme_move")
        if abs(paper(bar.open) * bar.unit / previous_close - 1) > Fraction(1, 10):
            found.add("gap")
            moved = abs(math.log(paper(bar.open) * bar.unit / previous_close))
            if moved >= math.log(1.2) and any(abs(moved - math.log(ratio)) <= 0.05 for ratio in COMMON):
                found.add("split_like")
    if not without_volume and len(before) >= 20:
        reference = median(paper(b.volume) / b.unit for b in before[-60:])
        volume = paper(bar.volume) / bar.unit
        if reference > 0 and volume > 10 * reference:
            found.add("volume_spike")
        if reference > 0 and volume < reference / 10:
            found.add("volume_drop")
    return found

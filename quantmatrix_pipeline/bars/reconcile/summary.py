"""What a comparison of two sources comes to, in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantmatrix_pipeline.bars.reconcile.causes import CAUSES, Cause
from quantmatrix_pipeline.bars.reconcile.classify import Comparison
from quantmatrix_pipeline.bars.reconcile.levels import Stretch


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts over the bars that two sources have in common.

    Attributes
    ----------
    bars
        In both; `only_first` and `only_second` in one, of symbols that both have.
    price_differs
        Bars with a price beyond the limit; `volume_differs` those with a volume beyond its limit and no such price.
    causes
        Of the former, by cause, the most frequent first.
    stretches
        Symbol and stretch of each level that differs by more than the limit, by symbol and day.
    """

    bars: int
    only_first: int
    only_second: int
    price_differs: int
    volume_differs: int
    causes: Mapping[Cause, int]
    stretches: Sequence[tuple[str, Stretch]]

    @property
    def explained(self) -> float | None:
        """Share of the bars whose prices differ that have a cause; None where none differs."""
        if not self.price_differs:
            return None
        return 1 - self.causes.get(Cause.UNEXPLAINED, 0) / self.price_differs


def summarise(symbols: Sequence[str], found: Comparison, limit: float) -> Summary:
    """Count what was found; `limit` is the relative difference of prices that was compared with."""
    prices = found.price_differs
    counts = np.bincount(found.cause[prices], minlength=len(CAUSES))
    order = sorted(range(len(CAUSES)), key=lambda k: -counts[k])
    return Summary(
        bars=len(found.pair),
        only_first=found.pair.only_first,
        only_second=found.pair.only_second,
        price_differs=int(prices.sum()),
        volume_differs=int((found.any_differs & ~prices).sum()),
        causes={CAUSES[k]: int(counts[k]) for k in order if counts[k]},
        stretches=[
            (symbols[s.instrument], s)
            for s in found.levels.stretches
            if s.cause is not Cause.NONE and abs(s.price_ratio - 1) > limit
        ],
    )

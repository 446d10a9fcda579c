"""One instrument with splits, as a panel: walks at random, in the shares of its first day."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.panel import PRICES, Panel
from quantmatrix_pipeline_tests.unit.indicators.panels import bars


def split_panel(
    length: int = 700, *, seed: int = 4, splits: tuple[tuple[int, float], ...] = ((300, 7.0), (610, 0.5))
) -> Panel:
    """Return `length` bars with a split before each (row, new shares for one old), and one gap."""
    rng = np.random.default_rng(seed)
    unit = np.ones(length)
    for row, ratio in splits:
        unit[row:] *= ratio
    days = np.busday_offset("2012-01-02", np.arange(length), roll="forward")
    fields = bars(rng, length, 500.0, 0.01, 0.0)
    for prices in fields.values():
        prices[-60:] *= 1.5  # a gap that stays open
    volume = rng.integers(1, 1000, length) * 100.0
    return Panel.from_rows(np.zeros(length, np.int32), days, **fields, volume=volume, unit=unit)


def in_last_shares(panel: Panel) -> Panel:
    """The same bars as a source would give them that had adjusted for every split itself: nothing is known of any."""
    unit = panel.unit[-1, 0]
    prices = {name: getattr(panel, name)[:, 0] / unit for name in PRICES}
    ids = np.zeros(panel.bars, np.int32)
    return Panel.from_rows(ids, panel.session[:, 0], **prices, volume=panel.volume[:, 0] * unit)

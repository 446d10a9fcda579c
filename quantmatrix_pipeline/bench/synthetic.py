"""A seeded universe of daily bars: ragged lives, holes, splits. The same seed gives the same bars on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.panel import Dates, Floats, Panel

LAST_SESSION = np.datetime64("2024-12-31", "D")
SPLIT_SHARE = 0.05  # of the instruments
SPLIT_RATIOS = np.array([2.0, 3.0, 4.0, 10.0, 20.0, 0.1])


@dataclass(frozen=True, slots=True)
class SyntheticBars:
    """Daily bars as traded, sorted by (instrument, session), in columns of one length.

    `unit` is the product of the split ratios with an ex-date on or before the session: price times `unit` is the
    forward-adjusted price.
    """

    instrument_id: npt.NDArray[np.int32]
    session: Dates
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    unit: Floats

    def panel(self) -> Panel:
        """Return the forward-adjusted panel of these bars."""
        return Panel.from_rows(
            self.instrument_id,
            self.session,
            self.open * self.unit,
            self.high * self.unit,
            self.low * self.unit,
            self.close * self.unit,
            self.volume / self.unit,
            self.unit,
        )


def synthetic_bars(
    instruments: int,
    sessions: int = 1260,
    *,
    shortest_life: int = 3,
    full_life_share: float = 0.5,
    hole_share: float = 0.02,
    seed: int = 20240101,
) -> SyntheticBars:
    """Generate bars of instruments that live until `LAST_SESSION`.

    Parameters
    ----------
    instruments, sessions
        How many, and how long the longest life is.
    shortest_life, full_life_share
        Lives are drawn evenly from `shortest_life` to `sessions`; this share of the instruments has the whole time.
    hole_share
        Share of the rows that are missing; the last bar of an instrument is always there.
    seed
        Of NumPy's PCG64.
    """
    rng = np.random.default_rng(seed)
    life = rng.integers(shortest_life, sessions + 1, instruments)
    life[rng.random(instruments) < full_life_share] = sessions
    starts = np.cumsum(life) - life
    rows = int(life.sum())
    instrument = np.repeat(np.arange(instruments, dtype=np.int32), life)
    bar = np.arange(rows) - starts[instrument]
    calendar = np.busday_offset(LAST_SESSION, np.arange(1 - sessions, 1), roll="backward")

    walk = np.cumsum(rng.normal(0.0003, 0.02, rows))
    start_price = np.exp(rng.normal(3.5, 1.0, instruments))
    close = np.exp(walk - walk[starts][instrument]) * start_price[instrument]
    unit = _units(rng, life, instrument, bar)
    close = np.maximum(np.round(close / unit, 2), 0.01)
    opening = np.maximum(np.round(close * np.exp(rng.normal(0, 0.008, rows)), 2), 0.01)
    high = np.round(np.maximum(opening, close) * (1 + np.abs(rng.normal(0, 0.006, rows))), 2)
    low = np.maximum(np.round(np.minimum(opening, close) * (1 - np.abs(rng.normal(0, 0.006, rows))), 2), 0.01)
    volume = np.round(np.exp(rng.normal(13, 1, rows)))

    keep = (rng.random(rows) >= hole_share) | (bar == life[instrument] - 1)
    session = calendar[sessions - life[instrument] + bar]
    prices = (column[keep] for column in (opening, high, low, close, volume, unit))
    return SyntheticBars(instrument[keep], session[keep], *prices)


def _units(
    rng: np.random.Generator, life: npt.NDArray[np.int64], instrument: npt.NDArray[np.int32], bar: npt.NDArray[np.int64]
) -> Floats:
    """Return each row's split multiplier: one split at a random bar for a share of the instruments."""
    ratio = np.where(rng.random(len(life)) < SPLIT_SHARE, rng.choice(SPLIT_RATIOS, len(life)), 1.0)
    ex_bar = (rng.random(len(life)) * life).astype(np.int64)
    return np.where(bar >= ex_bar[instrument], ratio[instrument], 1.0)

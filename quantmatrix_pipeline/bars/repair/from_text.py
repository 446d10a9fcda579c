"""Bars read out of text: do they lie among their neighbours, and what does a second source say where they don't?"""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.bars.batch import Bools
from quantmatrix_pipeline.bars.repair.catalogue import JUNK
from quantmatrix_pipeline.bars.repair.finding import PRICES, Finding, Series, in_order
from quantmatrix_pipeline.bars.repair.hundredfold import ONE_SIDED
from quantmatrix_pipeline.bars.repair.missing_values import evidence_of
from quantmatrix_pipeline.bars.repair.second_source import SecondSource, replacement
from quantmatrix_pipeline.bars.rules import BarRows

_LOG_TEN = float(np.log(10.0))


def bars_from_text(
    rows: BarRows, series: Series, faulty: Bools, text: Bools, second: SecondSource | None
) -> list[Finding]:
    """Return what becomes of rows whose numbers were read out of text (NaN where they could not be), `text`, (n,)."""
    found = []
    keys = rows.instrument_index[series.at], rows.session[series.at]
    for row in np.flatnonzero(text & rows.is_new).tolist():
        prices = tuple(float(getattr(rows, name)[row]) for name in PRICES)
        volume = float(rows.volume[row])
        if in_order(prices) and volume >= 0:
            place = int(np.searchsorted(series.at, row))
            own = [
                at
                for at in (place - 1, place)
                if 0 <= at < len(series)
                and keys[0][at] == rows.instrument_index[row]
                and keys[1][at] != rows.session[row]
            ]
            if own:
                logs = np.log(np.array(prices)) + np.log(rows.unit[row])
                remaining = float(np.abs(logs[:, None] - series.logs[3, own]).max())
                confidence = (1 - remaining / _LOG_TEN) * (1 if len(own) > 1 else ONE_SIDED)
                open_, high, low, close = prices
                evidence = {"log_distance_left": round(remaining, 6), "sides": len(own)}
                if confidence > 0:
                    found.append(Finding(row, JUNK, confidence, (open_, high, low, close, volume), evidence))
                    continue
        if second is not None:
            sound = tuple(n for n, price in zip(PRICES, prices, strict=True) if np.isfinite(price) and price > 0)
            theirs = replacement(rows, series, faulty, row, sound, second)
            if theirs is not None:
                found.append(Finding(row, JUNK, theirs.confidence, theirs.values, dict(evidence_of(theirs, second))))
    return found

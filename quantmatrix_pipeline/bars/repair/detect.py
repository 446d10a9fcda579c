"""All rules of repair over a batch of bars: what each finds, in an order in which none takes the other's fault for its
own.
"""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.bars.batch import Bools
from quantmatrix_pipeline.bars.repair.catalogue import MIN_CONFIDENCE
from quantmatrix_pipeline.bars.repair.finding import Finding, Series, positive
from quantmatrix_pipeline.bars.repair.from_text import bars_from_text
from quantmatrix_pipeline.bars.repair.hundredfold import hundredfold_fields
from quantmatrix_pipeline.bars.repair.missing_values import stale, stale_bars, zeroed
from quantmatrix_pipeline.bars.repair.second_source import SecondSource
from quantmatrix_pipeline.bars.repair.stretches import KnownSplits, stretches
from quantmatrix_pipeline.bars.rules import BarRows


def find_repairs(
    rows: BarRows,
    *,
    splits: KnownSplits | None = None,
    adjusted: Bools | None = None,
    text: Bools | None = None,
    second: SecondSource | None = None,
) -> list[Finding]:
    """Find the faults of a batch that can be mended, at any confidence; at most one finding per row.

    Parameters
    ----------
    rows
        Ascending by (instrument, session). A key may stand twice; the later row is then the one that counts. Stored
        bars (not `is_new`) are mended as well where only what came after them tells what is wrong with them.
    splits
        The known ones.
    adjusted
        Shape (n,): rows whose source adjusted their prices for splits; none where not given.
    text
        Shape (n,): rows whose numbers were read out of text, NaN where they could not be.
    second
        What another source says of some of the same bars.
    """
    none = np.zeros(len(rows), np.bool_)
    text = none if text is None else text
    whole = positive(rows) & ~np.isnat(rows.session)
    series = Series.of(rows, whole & ~text)
    # A single price that is off would look like the end of a stretch, and a stretch like a level to the bar beside it.
    found = [f for f in hundredfold_fields(rows, series) if f.confidence >= MIN_CONFIDENCE]
    series = series.mended(rows, found)
    longer = stretches(rows, series, splits or KnownSplits.none(), none if adjusted is None else adjusted)
    series = series.mended(rows, longer)
    both = {f.row for f in found} & {f.row for f in longer}  # neither mends all of such a bar
    found = [f for f in _surest(found + longer + hundredfold_fields(rows, series)) if f.row not in both]
    faulty = ~whole
    faulty[[finding.row for finding in found]] = True
    repeated, confidence = stale_bars(rows, series)
    repeated &= ~faulty
    faulty |= repeated
    found += bars_from_text(rows, series, faulty | text, text, second)
    if second is not None:
        found += zeroed(rows, series, faulty, ~whole & ~text, second)
    found += stale(rows, series, faulty, repeated, confidence, second)
    return sorted(found, key=lambda finding: finding.row)


def _surest(found: list[Finding]) -> list[Finding]:
    """Keep the surest finding of each row; of equally sure ones the first."""
    best: dict[int, Finding] = {}
    for finding in found:
        if finding.row not in best or finding.confidence > best[finding.row].confidence:
            best[finding.row] = finding
    return list(best.values())

"""Which volumes lie far off their trailing median, decided without computing most of the medians.

A sort of 60 values per bar would cost more than all other rules together. But whether v > 10 * median can be ruled out
by any lower bound of the median, and v < median / 10 by any upper bound. Let m3 be the medians of three neighbouring
bars, a and b the least and greatest m3 inside a window of k >= 20 bars. The window's last 3q bars, q = floor(k / 3),
are q disjoint triples, in each of which two values are >= a: at least 2q >= floor(k / 2) + 1 values of the window are,
so both middle ones are, and so is the median; likewise it is <= b. Unlike the plain minimum and maximum these bounds
don't give way to a single outlier, so few bars are left for which the window is sorted.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars.batch import Bools, Floats
from quantmatrix_pipeline.bars.thresholds import DEFAULT_THRESHOLDS, Thresholds

WINDOW = 60
MIN_BARS = 20
TOLERANCE = 1e-12  # relative: volumes put in another share unit are off by an ulp, and a tie is no excess

_MOSTLY_HISTORY = 4  # rows per judged row, from which on one pair of bounds per instrument is cheaper than one per row
_CHUNK = 1 << 16  # rows sorted at once: 30 MB
_Rows = npt.NDArray[np.intp]


def volume_anomalies(
    volume: Floats, bars_before: _Rows, judged: Bools, limits: Thresholds = DEFAULT_THRESHOLDS
) -> tuple[Bools, Bools]:
    """Compare volumes with the median of up to 60 bars before each, of the same instrument.

    Parameters
    ----------
    volume
        Shape (n,), finite, >= 0, in one share unit per instrument; instruments lie one after the other,
        oldest bar first.
    bars_before
        Shape (n,): how many bars of its own instrument precede a row.
    judged
        Shape (n,): the rows to judge; the others are only history.
    limits
        `volume_spike` and `volume_drop`, by default 10 times the median and a tenth of it.

    Returns
    -------
    spike, drop
        Shape (n,) each: above the one, below the other. False where fewer than 20 bars precede, or
        where the median is zero: something that hardly ever trades has no usual volume to compare with.
    """
    spike, drop = np.zeros(len(volume), np.bool_), np.zeros(len(volume), np.bool_)
    judged = judged & (bars_before >= MIN_BARS)
    if not judged.any():
        return spike, drop
    rows = _doubtful(volume, bars_before, np.flatnonzero(judged), limits)
    for start in range(0, len(rows), _CHUNK):
        some = rows[start : start + _CHUNK]
        median, own = _trailing_median(volume, some, bars_before[some]), volume[some]
        usual = median > 0
        spike[some] = usual & (own > median * (limits.volume_spike * (1 + TOLERANCE)))
        drop[some] = usual & (own < median * (limits.volume_drop * (1 - TOLERANCE)))
    return spike, drop


def _doubtful(volume: Floats, bars_before: _Rows, judged: _Rows, limits: Thresholds) -> _Rows:
    """Return those of the judged rows whose volume the bounds of the median don't clear."""
    triple = _median_of_three(volume)
    # Where the bounds reach beyond a window, into the instrument before or over later bars, they are only looser.
    if len(judged) * _MOSTLY_HISTORY < len(volume):
        starts = np.flatnonzero(bars_before == 0)
        own = np.searchsorted(starts, judged, side="right") - 1
        least, greatest = np.minimum.reduceat(triple, starts)[own], np.maximum.reduceat(triple, starts)[own]
    else:
        least, greatest = _trailing(np.minimum, triple)[judged - 1], _trailing(np.maximum, triple)[judged - 1]
    beyond = (volume[judged] > limits.volume_spike * least) | (volume[judged] < limits.volume_drop * greatest)
    return judged[beyond]


def _median_of_three(values: Floats) -> Floats:
    """Return the median of each value and the two before it; the first two rows stand for themselves."""
    result = values.copy()
    low, high = np.minimum(values[1:], values[:-1]), np.maximum(values[1:], values[:-1])
    result[2:] = np.maximum(low[:-1], np.minimum(high[:-1], values[2:]))
    return result


def _trailing(extreme: np.ufunc, values: Floats) -> Floats:
    """Return the extreme of the last 58 values, the triples inside 60 bars, by doubling: 1, 2 ... 32, 58."""
    width, wanted = 1, WINDOW - 2
    result = values
    while width < wanted:
        shift = min(width, wanted - width)
        wider = result.copy()
        extreme(result[shift:], result[:-shift], out=wider[shift:])
        result, width = wider, width + shift
    return result


def _trailing_median(values: Floats, rows: _Rows, bars_before: _Rows) -> Floats:
    """Return the exact median of up to 60 values before each row; an even count takes the mean of the middle two."""
    count = np.minimum(bars_before, WINDOW)
    back = np.arange(1, WINDOW + 1)
    window = values[np.maximum(rows[:, None] - back, 0)]
    if (count < WINDOW).any():
        window[back > count[:, None]] = np.inf  # beyond the instrument's first bar; sorts past every real one
    window.sort(axis=1)
    lower = np.take_along_axis(window, ((count - 1) // 2)[:, None], axis=1)[:, 0]
    upper = np.take_along_axis(window, (count // 2)[:, None], axis=1)[:, 0]
    return np.asarray((lower + upper) / 2, np.float64)

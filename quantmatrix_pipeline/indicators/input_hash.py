"""A 64-bit hash of the bars behind each row: two rows with equal hashes were computed from equal bars.

In bar space, as the indicators see it. With bits(x) the 64 bits of a number and mix the finalizer of SplitMix64
(Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014; Stafford's variant 13), all arithmetic
modulo 2**64:

    cell(k) = mix(...mix(mix(day number) ^ bits(open)) ^ bits(high)...) ^ ... ^ bits(unit))
    H(k)    = mix(sum of cell(i) * P**i, i = 0..k),    P = 0x9E3779B97F4A7C15

over session, open, high, low, close, volume and unit of bar k, forward-adjusted. Each term depends on its place, so the
sum runs along all instruments in one pass; that different bars meet in one hash by chance has a probability of about
2**-64. What a row takes from elsewhere (the benchmark, ranks) is not in it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.panel import PRICES, Panel

Hashes = npt.NDArray[np.uint64]

_P = 0x9E3779B97F4A7C15
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_INSTRUMENTS_AT_ONCE = 64  # a piece of bars x 64 stays within the cache through all steps


def input_hashes(panel: Panel) -> Hashes:
    """Return the hash of all bars up to each one, shape (bars, instruments); beyond a life it means nothing."""
    found = np.empty(panel.session.shape, np.uint64)
    place = _powers(panel.bars)[:, None]
    for start in range(0, panel.width, _INSTRUMENTS_AT_ONCE):
        part = slice(start, start + _INSTRUMENTS_AT_ONCE)
        cell = panel.session[:, part].astype(np.int64).view(np.uint64)
        scratch = np.empty_like(cell)
        _mix(cell, scratch)
        for name in (*PRICES, "volume", "unit"):
            cell ^= np.ascontiguousarray(getattr(panel, name)[:, part]).view(np.uint64)
            _mix(cell, scratch)
        cell *= place
        np.cumsum(cell, axis=0, out=cell)
        _mix(cell, scratch)
        found[:, part] = cell
    return found


def _powers(count: int) -> Hashes:
    """Return P**0 .. P**(count - 1) modulo 2**64."""
    powers = np.full(count, _P, np.uint64)
    powers[:1] = 1
    return np.asarray(np.cumprod(powers, dtype=np.uint64), np.uint64)


def _mix(x: Hashes, scratch: Hashes) -> None:
    """Apply the finalizer in place."""
    for shift, factor in ((30, _M1), (27, _M2)):
        np.right_shift(x, np.uint64(shift), out=scratch)
        np.bitwise_xor(x, scratch, out=x)
        np.multiply(x, factor, out=x)
    np.right_shift(x, np.uint64(31), out=scratch)
    np.bitwise_xor(x, scratch, out=x)

"""Which bars there are of some instruments on some sessions, as masks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from quantmatrix_pipeline.bars.batch import Bools, Dates, Ints


def stored_mask(window: Dates, ids: Sequence[int], instrument: Ints, session: Dates) -> Bools:
    """Return which bars are stored, shape (instruments, sessions of `window`).

    Parameters
    ----------
    window
        Sessions, sorted.
    ids
        The instruments, one per row.
    instrument, session
        The keys of the stored bars: each of `ids`, inside the window.
    """
    own = np.array(ids, np.int64)
    order = np.argsort(own)
    stored = np.zeros((len(own), len(window)), np.bool_)
    stored[order[np.searchsorted(own[order], instrument)], np.searchsorted(window, session)] = True
    return stored


def excepted_mask(window: Dates, ids: Sequence[int], exceptions: Sequence[tuple[int | None, date, date]]) -> Bools:
    """Return of which bars somebody said that they need not be asked for, shape (instruments, sessions of `window`).

    Each exception is an instrument_id, None for all of them, and its first and last session, both inclusive.
    """
    excepted = np.zeros((len(ids), len(window)), np.bool_)
    place = {i: row for row, i in enumerate(ids)}
    for instrument_id, first, last in exceptions:
        if instrument_id is None or instrument_id in place:
            inside = (window >= np.datetime64(first, "D")) & (window <= np.datetime64(last, "D"))
            excepted[slice(None) if instrument_id is None else place[instrument_id], inside] = True
    return excepted

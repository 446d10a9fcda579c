"""What a folder holds under an earlier name of an instrument is found under its later name too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TypeVar

import numpy as np

from quantmatrix_pipeline.bars.batch import BarBatch
from quantmatrix_pipeline.providers.answers import Dividend, Split, SymbolChange, UnreadableRow

_Action = TypeVar("_Action", Split, Dividend)


def under_later_names(batches: Sequence[BarBatch], changes: Iterable[SymbolChange]) -> list[BarBatch]:
    """Return the batches with each renamed symbol's earlier bars under its later name as well, in place.

    Bars that stand under the later name before the day of the rename are another company's where the folder has the
    instrument's own under its earlier name, and are left out then; where it has none they are its own, as of a vendor
    that writes all of its past under today's name.
    """
    out = list(batches)
    for change in changes:  # by day, so that what was renamed twice moves on
        if change.new_symbol is not None and any(_rows(b, change.symbol, change.on).any() for b in out):
            out = [_copied(batch, change.symbol, change.new_symbol, change.on) for batch in out]
    return out


def actions_under_later_names(actions: Sequence[_Action], changes: Iterable[SymbolChange]) -> tuple[_Action, ...]:
    """Return the actions with those of earlier names under the later ones as well."""
    out = list(actions)
    for change in changes:
        if change.new_symbol is not None:
            present = set(out)
            earlier = [a for a in out if a.symbol == change.symbol and a.ex_date < change.on]
            moved = [replace(a, symbol=change.new_symbol) for a in earlier]
            out += [a for a in moved if a not in present]
    return tuple(out)


def rows_under_later_names(
    rows: Mapping[str | None, Sequence[UnreadableRow]], changes: Iterable[SymbolChange]
) -> dict[str | None, tuple[UnreadableRow, ...]]:
    """Return the unreadable rows by symbol with those of earlier names under the later ones as well."""
    out = {symbol: tuple(of) for symbol, of in rows.items()}
    for change in changes:
        earlier = [r for r in out.get(change.symbol, ()) if r.session is not None and r.session < change.on]
        if earlier and change.new_symbol is not None:
            moved = (replace(r, symbol=change.new_symbol) for r in earlier)
            out[change.new_symbol] = (*out.get(change.new_symbol, ()), *moved)
    return out


def _rows(batch: BarBatch, symbol: str, before: date) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    if symbol not in batch.symbols:
        return np.zeros(len(batch), np.bool_)
    own: np.ndarray[tuple[int], np.dtype[np.bool_]] = batch.symbol_index == batch.symbols.index(symbol)
    return own & (batch.session < np.datetime64(before, "D"))


def _copied(batch: BarBatch, old: str, new: str, on: date) -> BarBatch:
    kept = batch.take(~_rows(batch, new, on)) if new in batch.symbols else batch
    earlier = kept.take(_rows(kept, old, on))
    if not len(earlier):
        return kept
    own = replace(earlier, symbols=(new,), symbol_index=np.zeros(len(earlier), np.int32))
    return BarBatch.concat([kept, own])

"""Everything that a declared folder holds, read and checked as a whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TypeVar

import numpy as np

from quantmatrix_pipeline.bars.adjustment import SplitTable, to_raw
from quantmatrix_pipeline.bars.batch import BarBatch, Basis
from quantmatrix_pipeline.bars.dividends import Convention, undo_dividends
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.providers.answers import Dividend, Listing, Split, SymbolChange, UnreadableRow
from quantmatrix_pipeline.providers.vendors.files.declaration import BarsEntry, Declaration
from quantmatrix_pipeline.providers.vendors.files.records import (
    read_dividends,
    read_instruments,
    read_splits,
    read_symbol_changes,
)
from quantmatrix_pipeline.providers.vendors.files.renamed import (
    actions_under_later_names,
    rows_under_later_names,
    under_later_names,
)
from quantmatrix_pipeline.providers.vendors.files.tables import Table
from quantmatrix_pipeline.providers.vendors.shared.held_bars import HeldBars

_Action = TypeVar("_Action", Split, Dividend)


@dataclass(frozen=True, slots=True)
class Group:
    """All bars that share a basis."""

    basis: Basis
    basis_date: date | None
    held: HeldBars


@dataclass(frozen=True, slots=True)
class Content:
    """What the files of a folder hold.

    Attributes
    ----------
    groups, group_of
        The bars by basis, and which group a symbol's bars are in; a symbol is in one only.
    listings
        By symbol, in their order; only symbols with bars.
    broken
        Files that can't be read.
    unreadable
        Rows that can't be read, by symbol; under None those that name nobody.
    splits, dividends
        By symbol, by ex-date.
    knows_splits
        Whether a splits file is declared: a split that it does not name is none.
    changes
        Renames and reuses of names, by day; bars and actions of an earlier name stand under the later one too.
    """

    groups: tuple[Group, ...]
    group_of: Mapping[str, int]
    listings: Mapping[str, Listing]
    broken: tuple[Table, ...]
    unreadable: Mapping[str | None, tuple[UnreadableRow, ...]]
    splits: Mapping[str, tuple[Split, ...]]
    dividends: Mapping[str, tuple[Dividend, ...]]
    knows_splits: bool
    changes: tuple[SymbolChange, ...] = ()


def gather(declaration: Declaration, tables: Sequence[tuple[BarsEntry, Table]]) -> Content:
    """Bring the tables of a declaration together; adjusted bars become raw where the actions to undo that are declared:
    splits for split-adjusted ones, splits and dividends for others.

    Raises
    ------
    ConfigurationError
        If there is not one readable bar, a symbol's bars are on different bases, or a table beside the bars is wrong.
    """
    changes = read_symbol_changes(declaration.renames, declaration.reuses)
    found = read_splits(declaration.splits) if declaration.splits else ()
    splits = _by_symbol(actions_under_later_names(found, changes))
    named = under_later_names([_only(table.bars, entry.symbols) for entry, table in tables], changes)
    paid = read_dividends(declaration.dividends, {}) if declaration.dividends else ()
    dividends = _by_symbol(actions_under_later_names(paid, changes))
    by_basis: dict[tuple[Basis, date | None], list[BarBatch]] = defaultdict(list)
    listings: dict[str, Listing] = {}
    unreadable: dict[str | None, list[UnreadableRow]] = defaultdict(list)
    for (entry, table), bars in zip(tables, named, strict=True):
        basis, basis_date = entry.basis, entry.basis_date
        if basis is Basis.SPLIT and basis_date and declaration.splits:
            bars, basis, basis_date = _raw(bars, basis_date, splits), Basis.RAW, None
        elif basis is Basis.SPLIT_DIVIDEND and basis_date and declaration.splits and declaration.dividends:
            bars = _raw_of_total_return(table, bars, basis_date, splits, dividends, entry.convention)
            basis, basis_date = Basis.RAW, None
        if len(bars):
            by_basis[basis, basis_date].append(bars)
        for symbol in bars.symbols:
            listings[symbol] = Listing(symbol, entry.kind, currency=entry.currency)
        for row in table.unreadable:
            if entry.symbols is None or row.symbol is None or row.symbol in entry.symbols:
                unreadable[row.symbol].append(row)
    broken = tuple(table for _, table in tables if table.failure)
    if not by_basis:
        why = f": {broken[0].failure}" if broken else ""
        raise ConfigurationError(f"files: {declaration.file} leads to not one readable bar ({len(tables)} files){why}")

    groups = tuple(Group(*basis, HeldBars(BarBatch.concat(batches))) for basis, batches in by_basis.items())
    group_of: dict[str, int] = {}
    for at, group in enumerate(groups):
        for symbol, (first, last) in group.held.spans().items():
            if symbol in group_of:
                raise ConfigurationError(
                    f"{declaration.file}: {symbol} stands in files of different basis; "
                    "name the wanted symbols of one of the entries: symbols = [...]"
                )
            group_of[symbol] = at
            listings[symbol] = replace(listings[symbol], first_bar=first, last_bar=last)
    listings = {s: listings[s] for s in sorted(group_of)}
    if declaration.instruments:
        described = read_instruments(declaration.instruments, listings)
        listings |= {s: described[s] for s in described if s in listings}
    currencies = {s: listing.currency for s, listing in listings.items()}
    paid = read_dividends(declaration.dividends, currencies) if declaration.dividends else ()
    return Content(
        groups=groups,
        group_of=group_of,
        listings=listings,
        broken=broken,
        unreadable=rows_under_later_names(unreadable, changes),
        splits=splits,
        dividends=_by_symbol(actions_under_later_names(paid, changes)),
        changes=changes,
        knows_splits=declaration.splits is not None,
    )


def _raw(bars: BarBatch, basis_date: date, splits: Mapping[str, Sequence[Split]]) -> BarBatch:
    found = [(at, split) for at, symbol in enumerate(bars.symbols) for split in splits.get(symbol, ())]
    ex_dates = np.array([split.ex_date for _, split in found], "datetime64[D]")
    table = SplitTable.build([at for at, _ in found], ex_dates, [split.ratio for _, split in found])
    prices = np.stack([bars.open, bars.high, bars.low, bars.close])
    until = np.datetime64(basis_date, "D")
    (open_, high, low, close), volume = to_raw(prices, bars.volume, bars.symbol_index, bars.session, until, table)
    return replace(bars, open=open_, high=high, low=low, close=close, volume=volume)


def _raw_of_total_return(
    table: Table,
    bars: BarBatch,
    basis_date: date,
    splits: Mapping[str, Sequence[Split]],
    dividends: Mapping[str, Sequence[Dividend]],
    convention: Convention,
) -> BarBatch:
    """Undo an adjustment for splits and dividends, symbol by symbol.

    Raises
    ------
    ConfigurationError
        If a day of a symbol stands in the file twice: which of the bars a dividend was measured by is not known.
    """
    prices, volume = np.stack([bars.open, bars.high, bars.low, bars.close]), bars.volume.copy()
    until = np.datetime64(basis_date, "D")
    for at, symbol in enumerate(bars.symbols):
        rows = np.flatnonzero(bars.symbol_index == at)
        rows = rows[np.argsort(bars.session[rows], kind="stable")]
        own = splits.get(symbol, ())
        ex_dates = np.array([split.ex_date for split in own], "datetime64[D]")
        steps = SplitTable.build([0] * len(own), ex_dates, [split.ratio for split in own])
        cash = [(np.datetime64(d.ex_date, "D"), d.amount) for d in dividends.get(symbol, ())]
        try:
            prices[:, rows], volume[rows] = undo_dividends(
                prices[:, rows], volume[rows], bars.session[rows], until, steps, cash, convention
            )
        except ValueError:
            raise ConfigurationError(
                f"files: {table.path.name}: {symbol} has two bars of one day, so that its adjustment for dividends"
                " can't be undone; remove one, or declare no dividends"
            ) from None
    open_, high, low, close = prices
    return replace(bars, open=open_, high=high, low=low, close=close, volume=volume)


def _only(bars: BarBatch, symbols: frozenset[str] | None) -> BarBatch:
    if symbols is None:
        return bars
    chosen = np.array([s in symbols for s in bars.symbols] or [False])
    kept = bars.take(chosen[bars.symbol_index])
    place = np.cumsum(chosen, dtype=np.int32) - 1
    return replace(kept, symbols=tuple(s for s in bars.symbols if s in symbols), symbol_index=place[kept.symbol_index])


def _by_symbol(actions: Iterable[_Action]) -> dict[str, tuple[_Action, ...]]:
    found: dict[str, list[_Action]] = defaultdict(list)
    for action in actions:
        found[action.symbol].append(action)
    return {s: tuple(sorted(a, key=lambda one: one.ex_date)) for s, a in found.items()}

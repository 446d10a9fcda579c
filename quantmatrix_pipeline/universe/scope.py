"""Which part of the tracked set a job is about: all of it, an index, the portfolio, the watch list, named symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from quantmatrix_pipeline.errors import ConfigurationError, UnknownSymbol
from quantmatrix_pipeline.providers.symbols import canonical
from quantmatrix_pipeline.universe.constituents import INDEXES
from quantmatrix_pipeline.warehouse import universe
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.universe import Tracked

Scope = Literal["universe", "index", "portfolio", "watch_list", "symbols"]


@dataclass(frozen=True, slots=True)
class Part:
    """The instruments of a scope, sorted by symbol; `told` says in words what they are, and why where they are none."""

    tracked: Sequence[Tracked]
    told: str

    @property
    def ids(self) -> list[int]:
        return [t.instrument_id for t in self.tracked]


def part_of(warehouse: Warehouse, scope: Scope, *, index: str | None = None, symbols: Sequence[str] = ()) -> Part:
    """Return the tracked instruments of a scope; one in which nobody is is empty and says why.

    Parameters
    ----------
    index
        Of the scope `index`: a code such as SP500.
    symbols
        Of the scope `symbols`.

    Raises
    ------
    ConfigurationError
        The scope `index` without an index that exists.
    UnknownSymbol
        A symbol is not tracked.
    """
    tracked = universe.tracked(warehouse)
    match scope:
        case "universe":
            return _part("the tracked set", tracked, "nothing is tracked yet: run refresh_constituents")
        case "index":
            return _index(warehouse, tracked, index)
        case "symbols":
            return _symbols(tracked, symbols)
        case "portfolio":
            held = [t for t in tracked if any(r.startswith("portfolio") for r in t.reasons)]
            return _part("the portfolio", held, "no positions are stored; for a list of your own there is watch_list")
        case "watch_list":
            listed = [t for t in tracked if "watch_list" in t.reasons]
            return _part("the watch list", listed, "nothing on it is tracked: `qm symbols add` puts symbols there")


def _part(name: str, tracked: Sequence[Tracked], if_empty: str) -> Part:
    return Part(tracked, f"{name}: {len(tracked)} instruments" if tracked else f"{name} is empty: {if_empty}")


def _index(warehouse: Warehouse, tracked: Sequence[Tracked], index: str | None) -> Part:
    code = (index or "").upper()
    if code not in INDEXES:
        raise ConfigurationError(f"index {index!r} is none of {', '.join(INDEXES)}")
    members = universe.active_members(warehouse, code)
    inside = [t for t in tracked if t.instrument_id in members]
    part = _part(code, inside, "no members are known: run refresh_constituents")
    if untracked := len(members) - len(inside):
        return Part(inside, f"{part.told}; {untracked} members are not tracked: run refresh_constituents")
    return part


def _symbols(tracked: Sequence[Tracked], symbols: Sequence[str]) -> Part:
    by_symbol = {t.symbol: t for t in tracked}
    wanted = {canonical(s) or s for s in symbols}
    if unknown := sorted(wanted - set(by_symbol)):
        raise UnknownSymbol(
            f"not tracked: {', '.join(unknown)}; `qm symbols add` does, `qm symbols list` shows the others"
        )
    return _part("the named symbols", [by_symbol[s] for s in sorted(wanted)], "none was named")

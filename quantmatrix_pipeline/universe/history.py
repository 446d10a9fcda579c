"""What a source says of the past: names that passed on, and who was in an index when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

from quantmatrix_pipeline.errors import SymbolConflict, UnknownSymbol
from quantmatrix_pipeline.providers.answers import IndexSpells, SymbolChange
from quantmatrix_pipeline.warehouse import membership, naming
from quantmatrix_pipeline.warehouse.engine import Warehouse


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one change of names; `refused` says why it could not be applied, None where it was."""

    symbol: str
    new_symbol: str | None
    on: date
    refused: str | None = None

    def as_row(self) -> dict[str, object]:
        return asdict(self)


def apply_changes(
    warehouse: Warehouse, changes: Sequence[SymbolChange], session: date, *, source: str, now: datetime
) -> list[Applied]:
    """Apply the changes of names up to `session`, in their order; return those that are new, and those refused.

    A change of names that nobody here bears waits until somebody does. Applying them again changes nothing.
    """
    told, known = naming.told(warehouse), naming.every_name(warehouse)
    done = []
    for change in changes:
        known_here = {change.symbol, change.new_symbol} & known
        if change.on > session or not known_here or (change.symbol, change.on, change.new_symbol) in told:
            continue
        try:
            if change.new_symbol is None:
                named = naming.reuse(warehouse, change.symbol, change.on, source=source, now=now, name=change.name)
            else:
                named = naming.rename(warehouse, change.symbol, change.new_symbol, change.on, source=source, now=now)
        except UnknownSymbol:
            continue
        except SymbolConflict as conflict:
            done.append(Applied(change.symbol, change.new_symbol, change.on, str(conflict)))
            continue
        if named.changed:
            known |= {change.symbol, *filter(None, [change.new_symbol])}
            done.append(Applied(change.symbol, change.new_symbol, change.on))
    return done


def keep_index_spells(warehouse: Warehouse, told: Sequence[IndexSpells], now: datetime) -> list[str]:
    """Store the stays in each index as told, in place of those stored; return the indexes of which any differed."""
    return [
        spells.index
        for spells in told
        if membership.keep_spells(
            warehouse,
            spells.index,
            [(s.symbol, s.start, s.end) for s in spells.spells],
            spells.covered,
            source=spells.vendor,
            now=now,
        )
    ]

"""Each night's tracked set: tiers by liquidity, a hash, and what differs between two nights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.warehouse import tiers
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.tiers import Night


@dataclass(frozen=True, slots=True)
class Tonight:
    """How many instruments are in each tier, and the hash of the tracked set; None where it was not recorded."""

    tiers: Mapping[str, int]
    hash: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between the tracked sets of two nights.

    Attributes
    ----------
    joined, left
        Symbols that are in one set only and were not renamed.
    renamed
        (old, new) of instruments that are in both sets under another name each.
    moved
        (symbol, tier before, tier after); a renamed one under its later name.
    """

    joined: tuple[str, ...]
    left: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    moved: tuple[tuple[str, str, str], ...]


def rank_and_record(
    warehouse: Warehouse, calendar: TradingCalendar, session: date, maxima: Mapping[str, int], now: datetime
) -> Tonight:
    """Rank the tracked set by the sessions up to `session`, put it in tiers and record it as that night's.

    Where a later night is recorded already nothing is changed: today's set says nothing about an old night, and tiers
    do not go back.
    """
    recorded = tiers.newest_night(warehouse)
    if recorded is not None and recorded > session:
        return Tonight(tiers.counts(warehouse), None)
    window = calendar.window(session, tiers.SESSIONS)
    tiers.rank(warehouse, (window[0].item(), session), maxima)
    return Tonight(tiers.counts(warehouse), tiers.record_night(warehouse, session, now))


def difference(before: Night, after: Night, renamed: Mapping[str, str]) -> Difference:
    """Compare two nights; `renamed` is old -> new of the names that passed on between them."""
    both = tuple((old, new) for old, new in sorted(renamed.items()) if old in before.tiers and new in after.tiers)
    names = dict(both)
    then = {names.get(symbol, symbol): tier for symbol, tier in before.tiers.items()}
    return Difference(
        joined=tuple(sorted(after.tiers.keys() - then.keys())),
        left=tuple(sorted(then.keys() - after.tiers.keys())),
        renamed=both,
        moved=tuple(
            (s, then[s], after.tiers[s]) for s in sorted(then.keys() & after.tiers) if then[s] != after.tiers[s]
        ),
    )

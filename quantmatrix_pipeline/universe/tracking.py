"""The tracked set: index members, the watch list, the benchmark, and what a finite source holds when there is no
index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from quantmatrix_pipeline.providers.answers import Listing, SymbolChange
from quantmatrix_pipeline.warehouse import instruments, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse


@dataclass(frozen=True, slots=True)
class TrackedSet:
    """The tracked symbols of a night, sorted, and those that came in that night, however often it is run."""

    all: tuple[str, ...]
    new: tuple[str, ...]
    by_reason: dict[str, int]


def update_tracked(
    warehouse: Warehouse,
    session: date,
    *,
    benchmark: str,
    listings: Sequence[Listing],
    changes: Sequence[SymbolChange] = (),
) -> TrackedSet:
    """Bring the tracked set up to date and return it.

    `listings` is what a finite source (files, sample) holds; facts such as kind and delisting date are taken from it
    for whatever is tracked. Its symbols are tracked themselves only where no index says what to follow, so that a new
    installation with nothing but a folder of bars has something to do. What it holds under a name that, by `changes`,
    is not borne on the session is passed over: it holds the same under the other name.
    """
    listings = as_named_on(session, listings, changes)
    reasons: dict[int, list[str]] = {}

    def add(instrument_ids: Sequence[int], reason: str) -> None:
        for instrument_id in instrument_ids:
            reasons.setdefault(instrument_id, []).append(reason)

    members = universe.member_ids(warehouse)
    for instrument_id, indexes in members.items():
        add([instrument_id], "index:" + "+".join(indexes))
    if not members and listings:
        add(sorted(instruments.ensure(warehouse, [x.symbol for x in listings]).values()), "source")
    add(sorted(universe.watched_ids(warehouse)), "watch_list")
    add(list(instruments.ensure(warehouse, [benchmark]).values()), "benchmark")

    for known in universe.tracked(warehouse):
        reasons.setdefault(known.instrument_id, list(known.reasons))  # a leaver keeps the reason for which it came in
    universe.track(warehouse, session, reasons)
    _describe(warehouse, listings)
    tracked = universe.tracked(warehouse)
    counts: dict[str, int] = {}
    for t in tracked:
        for reason in t.reasons:
            counts[reason.split(":")[0]] = counts.get(reason.split(":")[0], 0) + 1
    return TrackedSet(
        tuple(t.symbol for t in tracked), tuple(t.symbol for t in tracked if t.first_tracked == session), counts
    )


def as_named_on(session: date, listings: Sequence[Listing], changes: Sequence[SymbolChange]) -> Sequence[Listing]:
    """Return the listings without the later names of renames to come, and without the earlier ones of those past."""
    hidden = {change.new_symbol for change in changes if change.on > session}
    past = {change.symbol: change.on for change in changes if change.new_symbol and change.on <= session}
    return [
        listing
        for listing in listings
        if listing.symbol not in hidden
        and not (listing.symbol in past and listing.last_bar is not None and listing.last_bar < past[listing.symbol])
    ]


def _describe(warehouse: Warehouse, listings: Sequence[Listing]) -> None:
    known = instruments.ids(warehouse, [x.symbol for x in listings])
    instruments.describe(
        warehouse,
        [
            {
                "symbol": x.symbol,
                "kind": x.kind.value,
                "name": x.name,
                "currency": x.currency,
                "listed_on": x.listed_on,
                "delisted_on": x.delisted_on,
            }
            for x in listings
            if x.symbol in known
        ],
    )


def watch(warehouse: Warehouse, symbols: Sequence[str], now: datetime) -> int:
    """Put canonical symbols on the watch list, making instruments for new ones; return how many were not on it."""
    return universe.watch(warehouse, list(instruments.ensure(warehouse, symbols).values()), now)


def track_watched(warehouse: Warehouse, session: date) -> list[str]:
    """Track at once what is on the watch list and waits there for tonight's chain; return its symbols."""
    tracked = {t.instrument_id for t in universe.tracked(warehouse)}
    waiting = sorted(universe.watched_ids(warehouse) - tracked)
    universe.track(warehouse, session, dict.fromkeys(waiting, ("watch_list",)))
    return [t.symbol for t in universe.named(warehouse, waiting)]

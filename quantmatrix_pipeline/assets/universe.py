"""Assets of the universe: who is in the indexes, what is tracked, and in which tiers."""

import asyncio
from datetime import date

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, PartitionsDefinition

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.assets.declare import session_asset
from quantmatrix_pipeline.assets.metadata import column_schema, listed, table, vendor_rows
from quantmatrix_pipeline.assets.partitions import sessions_of
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.resources.cache import DAY, TRACKED_ALL, TRACKED_NEW, constituents_key
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.universe.constituents import INDEXES, refresh_indexes
from quantmatrix_pipeline.universe.history import Applied, apply_changes, keep_index_spells
from quantmatrix_pipeline.universe.nights import rank_and_record
from quantmatrix_pipeline.universe.tracking import update_tracked

GROUP = "universe"

CONSTITUENT_COLUMNS = column_schema(
    [
        ("index_code", "text", "SP500, NASDAQ100, DOW30 or R2000"),
        ("instrument_id", "integer", "the member"),
        ("first_seen", "date", "day of the first list that named it: the spell began then or before"),
        ("last_seen", "date", "day of the newest list that named it"),
        ("is_active", "boolean", "whether the spell lasts"),
        ("became_inactive_at", "date", "day of the first list without it"),
    ]
)
TRACKED_COLUMNS = column_schema(
    [
        ("instrument_id", "integer", "the tracked instrument"),
        ("active", "boolean", "whether it is tracked now"),
        ("tier", "text", "T0, T1 or T2, by trailing dollar volume"),
        ("first_tracked", "date", "session on which it came in"),
        ("reasons", "text[]", "index:..., watch_list, benchmark, source"),
    ]
)
NIGHT_COLUMNS = column_schema(
    [
        ("session", "date", "the night"),
        ("hash", "text", "SHA-256 of the symbols, one per line"),
        ("symbols", "text[]", "the tracked set by the names of that night"),
        ("tiers", "text[]", "the tier of each of them"),
    ]
)


def build(partitions: PartitionsDefinition[str]) -> list[AssetsDefinition]:
    """Return the universe's assets over the given sessions."""

    @session_asset(partitions, group=GROUP, table="index_constituents", columns=CONSTITUENT_COLUMNS)
    def index_constituents(context: AssetExecutionContext, platform: Platform) -> MaterializeResult[None]:
        """Members of SP500, NASDAQ100, DOW30 and R2000 as spells; a leaver is marked with its date, never deleted."""
        _, session = sessions_of(context)
        renamed = _apply_changes(platform, session)
        past = () if platform.past is None else platform.past.index_spells()
        spells_changed = keep_index_spells(platform.warehouse, past, clock.now())
        done = asyncio.run(refresh_indexes(platform.warehouse, platform.member_sources, INDEXES, session, clock.now()))
        platform.cache.publish({constituents_key(r.index): r.as_row() for r in done if r.provider_used})
        return MaterializeResult(
            metadata={
                "dagster/partition_row_count": sum(r.fetched for r in done),
                "indexes": table(r.as_row() for r in done),
                "fallback_used": any(r.fallback_used for r in done),
                "names": table(r.as_row() for r in renamed),
                "spells_changed": listed(spells_changed),
                "vendor_requests": table(vendor_rows(platform.members_router, (Capability.CONSTITUENTS,))),
            }
        )

    @session_asset(
        partitions, group=GROUP, table="symbol_universe", columns=TRACKED_COLUMNS, after=["index_constituents"]
    )
    def tracked_universe(context: AssetExecutionContext, platform: Platform) -> MaterializeResult[None]:
        """What the platform follows: index members, the watch list and the benchmark; all, and new since last night."""
        _, session = sessions_of(context)
        _apply_changes(platform, session)
        tracked = update_tracked(
            platform.warehouse,
            session,
            benchmark=platform.benchmark,
            listings=platform.source.listings(),
            changes=() if platform.past is None else platform.past.symbol_changes(),
        )
        _apply_changes(platform, session)  # to what came in just now
        platform.cache.publish({TRACKED_ALL: tracked.all})
        platform.cache.publish({TRACKED_NEW: tracked.new}, expire_seconds=DAY)
        return MaterializeResult(
            metadata={
                "dagster/row_count": len(tracked.all),
                "new": len(tracked.new),
                "new_symbols": listed(tracked.new),
                "by_reason": table({"reason": r, "instruments": n} for r, n in sorted(tracked.by_reason.items())),
            }
        )

    @session_asset(partitions, group=GROUP, table="universe_versions", columns=NIGHT_COLUMNS, after=["daily_bars"])
    def universe_tiers(context: AssetExecutionContext, platform: Platform) -> MaterializeResult[None]:
        """Tiers by trailing dollar volume, and the night's tracked set with its hash."""
        _, session = sessions_of(context)
        tonight = rank_and_record(
            platform.warehouse, platform.calendar, session, platform.settings.tier_maxima, clock.now()
        )
        return MaterializeResult(
            metadata={
                "tiers": table({"tier": tier, "instruments": n} for tier, n in tonight.tiers.items()),
                "hash": tonight.hash or "not recorded: a later night is",
            }
        )

    return [index_constituents, tracked_universe, universe_tiers]


def _apply_changes(platform: Platform, session: date) -> list[Applied]:
    if platform.past is None:
        return []
    changes = platform.past.symbol_changes()
    return apply_changes(platform.warehouse, changes, session, source=platform.source.name, now=clock.now())

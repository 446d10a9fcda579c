"""Assets of the indicators: the latest snapshot per instrument, and the immutable history."""

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, PartitionsDefinition, TableSchema

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.assets.configs import RecomputeConfig, day
from quantmatrix_pipeline.assets.declare import session_asset
from quantmatrix_pipeline.assets.freshness import NIGHTLY
from quantmatrix_pipeline.assets.metadata import column_schema, partition_rows
from quantmatrix_pipeline.assets.partitions import sessions_of
from quantmatrix_pipeline.indicators.catalogue import CATALOGUE
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.snapshots.record import record_history, update_snapshots
from quantmatrix_pipeline.snapshots.restate import mark_due
from quantmatrix_pipeline.snapshots.rows import SQL_TYPES
from quantmatrix_pipeline.universe.scope import part_of

GROUP = "indicators"


def columns(*keys: tuple[str, str, str]) -> TableSchema:
    """Return the given key columns followed by the catalogue's."""
    described = [(c.name, SQL_TYPES[c.kind], f"{i.formula} ({i.unit})") for i in CATALOGUE for c in i.columns]
    return column_schema([*keys, *described])


def build(partitions: PartitionsDefinition[str]) -> list[AssetsDefinition]:
    """Return the indicators' assets over the given sessions."""

    @session_asset(
        partitions,
        group=GROUP,
        table="market_analysis_cache",
        columns=columns(
            ("instrument_id", "integer", "the instrument"),
            ("session", "date", "session of its newest bar"),
            ("expiry_timestamp", "timestamptz", "the next close plus grace"),
        ),
        after=["daily_bars"],
        freshness=NIGHTLY,
    )
    def indicator_snapshots(
        context: AssetExecutionContext, config: RecomputeConfig, platform: Platform
    ) -> MaterializeResult[None]:
        """The newest indicator row of every instrument as of the session, computed from stored bars alone."""
        _, session = sessions_of(context)
        part = part_of(platform.warehouse, config.scope, index=config.index, symbols=config.symbols)
        if since := day(config.since, "since"):
            mark_due(platform.warehouse, part.ids, since)  # the history, which comes next, records it
        done = update_snapshots(
            platform.warehouse,
            platform.calendar,
            session,
            grace=platform.grace,
            now=clock.now(),
            method=platform.method,
            lock_wait_seconds=platform.settings.lock_wait_seconds,
            only=None if config.scope == "universe" else part.ids,
        )
        return MaterializeResult(
            metadata={
                "dagster/row_count": done.instruments,
                "scope": part.told,
                "changed": done.changed,
                "seconds": round(done.seconds, 3),
            }
        )

    @session_asset(
        partitions,
        group=GROUP,
        table="market_analysis_history",
        columns=columns(
            ("instrument_id", "integer", "the instrument"),
            ("session", "date", "the session computed"),
            ("revision", "smallint", "1, or one more for each restatement"),
            ("as_of", "timestamptz", "when it was recorded"),
        ),
        after=["indicator_snapshots"],
        freshness=NIGHTLY,
    )
    def indicator_history(context: AssetExecutionContext, platform: Platform) -> MaterializeResult[None]:
        """One row per instrument and session, never changed; a range is computed and written in one pass."""
        first, last = sessions_of(context)
        done = record_history(
            platform.warehouse,
            first,
            last,
            now=clock.now(),
            method=platform.method,
            lock_wait_seconds=platform.settings.lock_wait_seconds,
        )
        return MaterializeResult(
            metadata={
                **partition_rows(first, last, done.counts.rows),
                "recorded": done.counts.recorded,
                "restated": done.counts.restated,
                "unchanged": done.counts.unchanged,
                "seconds": round(done.seconds, 3),
            }
        )

    return [indicator_snapshots, indicator_history]

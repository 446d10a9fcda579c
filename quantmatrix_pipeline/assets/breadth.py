"""Asset of the breadth: how many stocks of a session rise, stand above their averages, make new highs."""

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, PartitionsDefinition

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.assets.declare import session_asset
from quantmatrix_pipeline.assets.freshness import NIGHTLY
from quantmatrix_pipeline.assets.metadata import column_schema, partition_rows, table
from quantmatrix_pipeline.assets.partitions import sessions_of
from quantmatrix_pipeline.indicators.breadth import BREADTH
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.snapshots.breadth import SQL_TYPES, record_breadth

COLUMNS = column_schema(
    [
        ("session", "date", "the session counted"),
        ("revision", "smallint", "1, or one more for each restatement"),
        ("as_of", "timestamptz", "when it was recorded"),
        *((c.name, SQL_TYPES[c.kind], f"{i.formula} ({i.unit})") for i in BREADTH for c in i.columns),
    ]
)


def build(partitions: PartitionsDefinition[str]) -> list[AssetsDefinition]:
    """Return the breadth's asset over the given sessions."""

    @session_asset(
        partitions,
        group="indicators",
        table="market_breadth",
        columns=COLUMNS,
        after=["indicator_history"],
        freshness=NIGHTLY,
    )
    def market_breadth(context: AssetExecutionContext, platform: Platform) -> MaterializeResult[None]:
        """Counts over the stocks of each session, never changed; a range is counted in one pass."""
        first, last = sessions_of(context)
        done = record_breadth(
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
                "breadth": table({"column": name, "value": value} for name, value in done.newest.items()),
                "seconds": round(done.seconds, 3),
            }
        )

    return [market_breadth]

"""Asset of the reconciliation: some of the session's bars, and the flagged ones, as a second vendor has them."""

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, PartitionsDefinition

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.assets.declare import session_asset
from quantmatrix_pipeline.assets.metadata import column_schema, table
from quantmatrix_pipeline.assets.partitions import sessions_of
from quantmatrix_pipeline.ingest.reconcile import reconcile
from quantmatrix_pipeline.resources.platform import Platform

COLUMNS = column_schema(
    [
        ("instrument_id", "integer", "the instrument"),
        ("session", "date", "of the bar"),
        ("source_id", "smallint", "of the stored bar: vendor, basis and basis date"),
        ("version", "smallint", "of the stored bar, as it was compared"),
        ("second_vendor", "text", "who was asked"),
        ("second_open", "double", "and so on to second_volume: that vendor's bar as it came, null where it has none"),
        ("asked_because", "text", "sample, flagged, or third_opinion: to decide between two"),
        ("cause", "text", "of the difference: spin_off, split_vintage, bad_print, ..."),
        ("verdict", "text", "agree, convention, stored, second, open or absent"),
        ("against", "text[]", "the vendors against which it counts"),
        ("run_session", "date", "the session of the night in which it was asked"),
        ("compared_at", "timestamptz", "when"),
    ]
)


def build(partitions: PartitionsDefinition[str]) -> list[AssetsDefinition]:
    """Return the reconciliation's asset over the given sessions."""

    @session_asset(
        partitions, group="prices", table="bar_comparisons", columns=COLUMNS, after=["daily_bars", "indicator_history"]
    )
    def reconciliation(context: AssetExecutionContext, platform: Platform) -> MaterializeResult[None]:
        """A sample of the newest session's bars and the flagged ones as a second vendor has them; changes no bar.

        Nothing waits for it, and it is only asked what the night left of the vendors' budgets. Where there is no second
        vendor, nobody is asked.
        """
        _, session = sessions_of(context)
        router, source = platform.vendors()
        done = reconcile(
            platform.warehouse,
            router,
            session,
            sample=platform.settings.reconcile_sample,
            flagged=platform.settings.reconcile_flagged,
            share=platform.settings.reconcile_budget_share,
            limits=platform.reconcile_limits,
            now=clock.now(),
        )
        return MaterializeResult(
            metadata={
                "dagster/partition_row_count": len(done.rows),
                "source": source,
                "sampled": done.sampled,
                "flagged": done.flagged,
                "compared": done.compared,
                "contradicted": done.contradicted,
                "unasked": done.unasked,
                "nobody_asked_because": done.skipped or "none",
                "verdicts": table({"verdict": said, "bars": n} for said, n in done.verdicts.most_common()),
                "causes": table({"cause": cause, "bars": n} for cause, n in done.causes.most_common()),
                "seconds": round(done.seconds, 3),
            }
        )

    return [reconciliation]

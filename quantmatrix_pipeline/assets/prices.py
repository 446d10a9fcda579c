"""Assets of the prices: daily bars of the tracked set."""

from collections.abc import Iterator

from dagster import AssetExecutionContext, AssetObservation, AssetsDefinition, MaterializeResult, PartitionsDefinition

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.assets.configs import FetchConfig
from quantmatrix_pipeline.assets.declare import session_asset
from quantmatrix_pipeline.assets.freshness import NIGHTLY
from quantmatrix_pipeline.assets.metadata import column_schema, partition_rows, short, table, vendor_rows, would_fetch
from quantmatrix_pipeline.assets.partitions import sessions_of
from quantmatrix_pipeline.coverage.gaps import scan
from quantmatrix_pipeline.ingest.daily import ingest_daily
from quantmatrix_pipeline.ingest.plan import lacking, window_start
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.warehouse import audit
from quantmatrix_pipeline.warehouse.universe import tracked

GROUP = "prices"
ASKED = (
    Capability.DAILY_BARS,
    Capability.GROUPED_BARS,
    Capability.CRYPTO_DAILY,
    Capability.SPLITS,
    Capability.DIVIDENDS,
)

COLUMNS = column_schema(
    [
        ("instrument_id", "integer", "the instrument"),
        ("interval", "text", "1d"),
        ("session", "date", "the exchange session"),
        ("open", "double", "in the instrument's currency, on the basis of its source (as traded where it gives that)"),
        ("high", "double", "as open; at least open and close"),
        ("low", "double", "as open; at most open and close"),
        ("close", "double", "as open"),
        ("volume", "double", "shares"),
        ("quality_score", "double", "1.0 less what the soft rules take; below 0.5 the bar is used for nothing"),
        ("validated", "boolean", "score of QM_VALIDATED_QUALITY or more"),
        ("gap_detected", "boolean", "open over QM_GAP_PERCENT off the previous close, no known split explains it"),
        (
            "volume_anomaly",
            "boolean",
            "over QM_VOLUME_SPIKE times or under QM_VOLUME_DROP of the median of the 60 bars before",
        ),
        ("source_id", "smallint", "vendor, basis and basis date"),
        ("version", "smallint", "1, or one more than its newest predecessor in price_data_revisions"),
        ("as_of", "timestamptz", "when this version was learned"),
    ]
)


def build(partitions: PartitionsDefinition[str]) -> list[AssetsDefinition]:
    """Return the prices' assets over the given sessions."""

    @session_asset(
        partitions,
        group=GROUP,
        table="price_data",
        columns=COLUMNS,
        after=["tracked_universe"],
        freshness=NIGHTLY,
        may_skip=True,
    )
    def daily_bars(
        context: AssetExecutionContext, config: FetchConfig, platform: Platform
    ) -> Iterator[MaterializeResult[None]]:
        """Daily bars of the tracked set: what is missing is fetched, the newest anew; proven sound, written once."""
        first, last = sessions_of(context)
        if config.dry_run:
            start = window_start(platform.calendar, first, platform.settings.history_sessions)
            wanted = lacking(
                platform.warehouse, platform.source, platform.calendar, tracked(platform.warehouse), start, last
            )
            context.log_event(AssetObservation("daily_bars", metadata=would_fetch(wanted), partition=str(last)))
            return
        done = ingest_daily(
            platform.warehouse,
            platform.source,
            platform.calendar,
            first,
            last,
            depth=platform.settings.history_sessions,
            now=clock.now(),
            grace=platform.grace,
            recheck=platform.settings.recheck_sessions,
            tell=context.log.info,
            **platform.fetching,
        )
        missing = scan(
            platform.warehouse, platform.calendar, last, depth=platform.settings.history_sessions, now=clock.now()
        )
        yield MaterializeResult(
            metadata={
                **partition_rows(first, last, audit.bars_of_session(platform.warehouse, last)),
                "vendor": f"{done.vendor} ({platform.selection.reason})",
                "asked": f"{done.asked_symbols} symbols, {done.asked_sessions} sessions, {done.first}..{done.last}",
                "inserted": done.inserted,
                "revised": done.revised,
                "unchanged": done.unchanged,
                "rejected": done.rejected,
                "flagged": done.flagged,
                "validated_share": audit.validated_share(platform.warehouse, first, last),
                "repaired": done.repaired,
                "repairs_suggested": done.suggested,
                "rescored": done.rescored,
                "disputed": done.disputed,
                "splits": done.splits,
                "failed_symbols": len(done.failures),
                "first_failure": short(next((why for _, why in sorted(done.failures.items())), "none")),
                "failures": table({"symbol": s, "why": why} for s, why in sorted(done.failures.items())),
                "reasons": table({"reason": r, "bars": n} for r, n in done.reasons.most_common()),
                "missing": table(
                    {"reason": reason, "stretches": stretches, "sessions": sessions}
                    for reason, (stretches, sessions) in missing.by_reason.items()
                ),
                "vendor_requests": table(vendor_rows(platform.router, ASKED)),
                "seconds": round(done.seconds, 3),
            }
        )

    return [daily_bars]

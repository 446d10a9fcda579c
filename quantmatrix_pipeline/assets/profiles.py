"""Assets of the companies: what each tracked one is, by the lists of index members and by vendors."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, asset

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.assets.declare import OWNER
from quantmatrix_pipeline.assets.metadata import column_schema, table, vendor_rows
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.universe.profiles import refresh_profiles

NAMED = 10  # symbols that are named beside a reason

COLUMNS = column_schema(
    [
        ("instrument_id", "integer", "the company"),
        ("version", "integer", "1, or one more than the version before"),
        ("name", "text", "of the company"),
        ("exchange", "text", "its common name: NASDAQ, NYSE, NYSE American, NYSE Arca, Cboe, or as the vendor says"),
        ("sector", "text", "as the list of index members says, else as a vendor does"),
        ("industry", "text", "as sector"),
        ("sub_industry", "text", "as sector"),
        ("market_cap", "double", "in units of the currency"),
        ("currency", "text", "of the market cap"),
        ("next_earnings", "date", "as it was known then"),
        ("vendor", "text", "who said what is new in this version"),
        ("as_of", "timestamptz", "when this version was learned"),
        ("superseded_at", "timestamptz", "when the next one was; null: it is in force"),
    ]
)


def build() -> list[AssetsDefinition]:
    """Return the companies' assets."""

    @asset(
        group_name="universe",
        owners=[OWNER],
        kinds={"postgres"},
        code_version="1",
        metadata={"dagster/table_name": "company_profiles", "dagster/column_schema": COLUMNS},
    )
    def company_profiles(context: AssetExecutionContext, platform: Platform) -> MaterializeResult[None]:
        """What each tracked company is as of now; a change is a new version beside the old one.

        Not partitioned by session: vendors say what a company is today and nothing of other days, so that a session's
        partition could only pretend. Nothing waits for it, and a vendor that fails makes it older, never a failed run.
        """
        router, source = platform.vendors()
        done = asyncio.run(
            refresh_profiles(
                platform.warehouse,
                router,
                clock.now(),
                max_age_days=platform.settings.profile_max_age_days,
                most_calls=platform.settings.profile_calls,
                wait_seconds=platform.settings.budget_wait_seconds,
            )
        )
        return MaterializeResult(
            metadata={
                "dagster/row_count": done.tracked,
                "source": source,
                "due": done.due,
                "asked": sum(done.served.values()) + len(done.unknown),
                "calls": done.calls,
                "changed": done.changed,
                "unchanged": done.unchanged,
                "served_by": table({"vendor": v, "companies": n} for v, n in sorted(done.served.items())),
                "unknown": len(done.unknown),
                "unknown_because": table(_by_reason(done.unknown)),
                "undone": len(done.undone),
                "undone_because": table(_by_reason(done.undone)),
                "vendor_requests": table(vendor_rows(router, (Capability.PROFILE,))),
            }
        )

    return [company_profiles]


def _by_reason(symbols: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a row per reason, the most frequent first, with its first symbols."""
    found: dict[str, list[str]] = defaultdict(list)
    for symbol, why in symbols.items():
        found[why].append(symbol)
    return [
        {"why": why, "companies": len(named), "symbols": ", ".join(named[:NAMED])}
        for why, named in sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    ]

"""The jobs that materialize assets of a session, or of a range of sessions, and those over all that is stored."""

from __future__ import annotations

from dagster import AssetSelection, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from quantmatrix_pipeline.automation.jobs.tags import LIMITS, ONE_AT_A_TIME
from quantmatrix_pipeline.job_names import (
    BACKFILL_STALE,
    RECOMPUTE,
    RECORD,
    REFRESH_CONSTITUENTS,
    REFRESH_COVERAGE,
    REFRESH_PROFILES,
    RESTORE,
    VALIDATE,
)


def build() -> list[UnresolvedAssetJobDefinition]:
    """Return the jobs; each takes a session or a range of sessions, as its assets do, and is safe to run twice.

    Two have no session: the profiles' job shares nothing with the chain and never waits for it, and `validate` looks at
    all that is stored.
    """

    def job(name: str, description: str, *assets: str) -> UnresolvedAssetJobDefinition:
        return define_asset_job(
            name,
            selection=AssetSelection.assets(*assets),
            description=description,
            tags=ONE_AT_A_TIME | LIMITS,
        )

    computed = ("indicator_snapshots", "indicator_history", "market_breadth", "coverage_report")
    return [
        job(
            RESTORE,
            "The guided nightly chain: members, tracked set, missing bars, indicators, history, breadth, coverage,"
            " a second vendor's word on some bars.",
            "index_constituents",
            "tracked_universe",
            "daily_bars",
            "universe_tiers",
            *computed,
            "reconciliation",
        ),
        job(
            BACKFILL_STALE,
            "Fetch what is missing, of nothing but what misses some, and compute again; members stay as they are.",
            "daily_bars",
            *computed,
        ),
        job(
            REFRESH_CONSTITUENTS,
            "Read the indexes' members again and bring the tracked set up to date.",
            "index_constituents",
            "tracked_universe",
        ),
        job(RECOMPUTE, "Compute snapshots, history and breadth again from stored bars; no network.", *computed),
        job(
            RECORD,
            "Record the history and the breadth of a session or a range again; only what differs is written.",
            "indicator_history",
            "market_breadth",
        ),
        job(REFRESH_COVERAGE, "Work out the coverage again.", "coverage_report"),
        define_asset_job(
            REFRESH_PROFILES,
            selection=AssetSelection.assets("company_profiles"),
            description="Ask vendors what the tracked companies are, oldest knowledge first, within a number of calls.",
            tags=LIMITS,
        ),
        define_asset_job(
            VALIDATE,
            selection=AssetSelection.checks_for_assets("daily_bars", *computed[1:], "reconciliation"),
            description="Run every check over what is stored, as of the newest session; changes nothing.",
            tags=LIMITS,
        ),
    ]

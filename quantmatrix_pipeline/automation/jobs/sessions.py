"""The jobs: what a person presses, a schedule starts or a sensor launches."""

from __future__ import annotations

from dagster import AssetSelection, JobDefinition, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from quantmatrix_pipeline.automation.jobs import history, restate, retention, symbols
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

# What runs twice at once does nothing twice, but the second would only wait for the first's locks.
ONE_AT_A_TIME = {"quantmatrix/chain": "daily"}
_LIMITS = {"dagster/max_runtime": "7200"}


AnyJob = UnresolvedAssetJobDefinition | JobDefinition


def build() -> list[AnyJob]:
    """Return the jobs; each takes a session or a range of sessions, as its assets do, and is safe to run twice.

    Some have no session: `restate` and the backfills say themselves what they are about, the profiles' shares nothing
    with the chain and never waits for it, and `enforce_retention` touches nothing that the chain reads.
    """

    def job(name: str, description: str, *assets: str) -> UnresolvedAssetJobDefinition:
        return define_asset_job(
            name,
            selection=AssetSelection.assets(*assets),
            description=description,
            tags=ONE_AT_A_TIME | _LIMITS,
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
            tags=_LIMITS,
        ),
        define_asset_job(
            VALIDATE,
            selection=AssetSelection.checks_for_assets("daily_bars", *computed[1:], "reconciliation"),
            description="Run every check over what is stored, as of the newest session; changes nothing.",
            tags=_LIMITS,
        ),
        restate.build(ONE_AT_A_TIME | _LIMITS),
        retention.build(_LIMITS),
        history.build(ONE_AT_A_TIME | _LIMITS),
        *symbols.build(ONE_AT_A_TIME | _LIMITS),
    ]

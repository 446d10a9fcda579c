"""Where docs/operations.md says what to do: an anchor per alert."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from quantmatrix_pipeline.alerts.troubles import Group, Kind

KINDS: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.FAILED_RUN: "a-run-failed",
        Kind.FAILED_CHECK: "a-check-failed",
        Kind.SLOW_RUN: "a-run-takes-long",
        Kind.STALE_ASSET: "an-asset-is-stale",
        Kind.FAILING_TICK: "the-ticks-of-a-schedule-or-sensor-fail",
    }
)
CHECKS: Mapping[str, str] = MappingProxyType(
    {
        "daily_bars.bars_obey_the_rules": "bars-break-a-rule",
        "daily_bars.no_session_missing_inside_a_life": "sessions-are-missing-inside-a-life",
        "daily_bars.row_count_against_yesterday": "tonight-has-fewer-bars-than-last-night",
        "daily_bars.splits_explain_the_prices": "a-price-jumps-as-by-a-split",
        "indicator_history.snapshot_equals_history": "snapshots-differ-from-the-history",
        "market_breadth.breadth_adds_up": "the-breadth-does-not-add-up",
        "coverage_report.coverage_at_target": "coverage-is-below-its-target",
        "coverage_report.nothing_over_48h": "bars-are-older-than-48-hours",
        "coverage_report.m5_of_last_session": "bars-of-five-minutes-at-0",
        "coverage_report.backfills_get_on": "a-backfill-was-given-up",
        "backup.restores_whole": "is-it-good",
        "reconciliation.vendors_confirm_each_other": "vendors-contradict-each-other",
    }
)
# By the class of the error behind a failed run.
ERRORS: Mapping[str, str] = MappingProxyType(
    {
        "ConfigurationError": "a-setting-or-a-file-is-wrong",
        "ChainBusy": "another-run-holds-the-lock",
        "WarehouseUnavailable": "the-database-does-not-answer",
        "NobodyServes": "no-vendor-answers",
        "VendorUnavailable": "no-vendor-answers",
        "CircuitOpen": "no-vendor-answers",
        "NotServed": "no-vendor-answers",
        "AuthFailed": "a-vendor-refuses-the-key",
        "RateLimited": "a-budget-is-used-up",
        "QuotaExhausted": "a-budget-is-used-up",
        "BudgetTooSmall": "a-budget-is-used-up",
    }
)
TIMEOUT = "a-run-was-ended-at-its-timeout"


def anchor(group: Group) -> str:
    """Return the heading that says what to do about a group, as an anchor."""
    lead = group.troubles[0]
    if lead.kind is Kind.FAILED_CHECK:
        return CHECKS.get(lead.subject.removeprefix("check:"), KINDS[lead.kind])
    if lead.kind is Kind.FAILED_RUN and group.runs:
        run = group.runs[0]
        return TIMEOUT if run.timed_out else ERRORS.get(run.error or "", KINDS[lead.kind])
    return KINDS[lead.kind]

"""What is wrong with a coverage, gravest first, and the job that mends it."""

from __future__ import annotations

from collections.abc import Sequence

from quantmatrix_pipeline.coverage.state import NONE, STALE, CoverageReport
from quantmatrix_pipeline.job_names import BACKFILL_STALE, RECOMPUTE, RECORD, REFRESH_CONSTITUENTS, RESTORE


def diagnose(report: CoverageReport) -> tuple[tuple[str, ...], str | None]:
    """Return what is wrong and the job that mends the gravest of it; none where nothing is."""
    if report.tracked_count == 0:
        return ("nothing is tracked yet",), REFRESH_CONSTITUENTS
    due = report.fresh - report.unusable
    missing_row = "{} fresh instruments lack a {}".format
    found: list[tuple[bool, str, str]] = [
        (
            report.share < report.target,
            f"{report.fresh} of {report.expected} instruments fresh ({report.share:.1%}), {report.target:.0%} promised",
            RESTORE,
        ),
        (bool(report.emptied), f"no members of {', '.join(report.emptied)}", REFRESH_CONSTITUENTS),
        (*_named(report, STALE, "over 48h"), BACKFILL_STALE),
        (*_named(report, NONE, "without any bar"), BACKFILL_STALE),
        # No job mends a bad price; a better bar from the source does.
        (report.unusable > 0, f"{report.unusable} bars scored too low to be used", BACKFILL_STALE),
        (report.snapshots < due, missing_row(due - report.snapshots, "snapshot"), RECOMPUTE),
        (report.history < due, missing_row(due - report.history, "history row"), RECORD),
    ]
    wrong = [(reason, job) for is_so, reason, job in found if is_so]
    return tuple(reason for reason, _ in wrong), wrong[0][1] if wrong else None


def _named(report: CoverageReport, bucket: str, what: str) -> tuple[bool, str]:
    count = report.buckets[bucket]
    return count > 0, f"{count} {what}: {_few(report.stale[bucket])}"


def _few(symbols: Sequence[str]) -> str:
    return ", ".join(symbols[:5]) + (", ..." if len(symbols) > 5 else "")

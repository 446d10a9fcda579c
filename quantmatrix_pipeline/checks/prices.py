"""Checks of the prices: the rules hold in the warehouse, lives have no holes, tonight is no smaller than last night."""

from dagster import AssetCheckExecutionContext, AssetCheckResult, AssetChecksDefinition, AssetCheckSeverity, asset_check

from quantmatrix_pipeline.assets.metadata import table
from quantmatrix_pipeline.bars.split_evidence import OUTVOTED, UNTESTED
from quantmatrix_pipeline.checks.context import session_of
from quantmatrix_pipeline.ingest.splits import held_jumps
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.warehouse import audit
from quantmatrix_pipeline.warehouse.gaps import holes

LEAST_OF_YESTERDAY = 0.9
UNDECIDED = (UNTESTED, OUTVOTED)
SHOWN = 20


def build() -> list[AssetChecksDefinition]:
    """Return the checks of `daily_bars`."""

    @asset_check(asset="daily_bars", blocking=True)
    def bars_obey_the_rules(platform: Platform) -> AssetCheckResult:
        """No stored bar breaks a hard rule. Blocks the indicators: a wrong number is worse than a missing one."""
        broken, first = audit.broken_bars(platform.warehouse)
        return AssetCheckResult(passed=not broken, metadata={"broken": broken, "first": table(first)})

    @asset_check(asset="daily_bars")
    def no_session_missing_inside_a_life(context: AssetCheckExecutionContext, platform: Platform) -> AssetCheckResult:
        """Between its first and its last bar no instrument lacks a session, but for what was refused or accepted."""
        found = holes(platform.warehouse, session_of(context, platform))
        return AssetCheckResult(
            passed=all(h.missing <= h.rejected for h in found),
            severity=AssetCheckSeverity.WARN,
            metadata={
                "instruments": len(found),
                "sessions": sum(h.missing for h in found),
                "of_them_rejected": sum(h.rejected for h in found),
                "worst": table(
                    {"symbol": h.symbol, "missing": h.missing, "rejected": h.rejected, "first": h.first, "last": h.last}
                    for h in found
                ),
            },
        )

    @asset_check(asset="daily_bars")
    def row_count_against_yesterday(context: AssetCheckExecutionContext, platform: Platform) -> AssetCheckResult:
        """The session has at least 90 % of the bars of the session before."""
        session = session_of(context, platform)
        today = audit.bars_of_session(platform.warehouse, session)
        before = audit.bars_of_session(platform.warehouse, platform.calendar.previous(session))
        return AssetCheckResult(
            passed=today >= LEAST_OF_YESTERDAY * before and (today > 0 or before == 0),
            severity=AssetCheckSeverity.WARN,
            metadata={"session": str(session), "bars": today, "bars_before": before},
        )

    @asset_check(asset="daily_bars")
    def splits_explain_the_prices(platform: Platform) -> AssetCheckResult:
        """No price jumps as by a split that nobody named, and no named split is left that prices could not decide on.

        The conflicts that prices did decide are told beside it, with what was made of them; and of how many dividends
        vendors say what prices can't decide on, for which alone the check does not fail.
        """
        held = held_jumps(platform.warehouse)
        conflicts = audit.action_conflicts(platform.warehouse)
        undecided = [row for row in conflicts if row["reason"] in UNDECIDED]
        return AssetCheckResult(
            passed=not held and not undecided,
            severity=AssetCheckSeverity.WARN,
            metadata={
                "held_jumps": len(held),
                "undecided_conflicts": len(undecided),
                "decided_conflicts": len(conflicts) - len(undecided),
                "dividend_conflicts": audit.dividend_conflicts(platform.warehouse),
                "jumps": table(held[:SHOWN]),
                "conflicts": table(conflicts[:SHOWN]),
            },
        )

    return [
        bars_obey_the_rules,
        no_session_missing_inside_a_life,
        row_count_against_yesterday,
        splits_explain_the_prices,
    ]

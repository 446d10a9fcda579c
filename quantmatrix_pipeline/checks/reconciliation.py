"""Checks of the reconciliation: vendors confirm each other."""

from dagster import AssetCheckExecutionContext, AssetCheckResult, AssetChecksDefinition, AssetCheckSeverity, asset_check

from quantmatrix_pipeline.assets.metadata import table
from quantmatrix_pipeline.checks.context import session_of
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.warehouse import reconciliation

NIGHTS = 20
MOST = 0.05  # of the bars compared lately
SHOWN = 20


def build() -> list[AssetChecksDefinition]:
    """Return the checks of `reconciliation`."""

    @asset_check(asset="reconciliation")
    def vendors_confirm_each_other(context: AssetCheckExecutionContext, platform: Platform) -> AssetCheckResult:
        """Of the bars compared in the last 20 nights at most 5 % are contradicted; conventions don't count."""
        session = session_of(context, platform)
        found = reconciliation.lately(platform.warehouse, platform.calendar.previous(session, NIGHTS - 1), session)
        open_ = reconciliation.find(platform.warehouse, verdict="open", limit=SHOWN) if found.contradicted else []
        return AssetCheckResult(
            passed=found.rate <= MOST,
            severity=AssetCheckSeverity.WARN,
            metadata={
                "compared": found.compared,
                "contradicted": found.contradicted,
                "to_decide": found.open,
                "open": table(
                    {
                        "symbol": d.symbol,
                        "session": d.session,
                        "field": d.field,
                        "vendor": d.vendor,
                        "stored": d.stored,
                        "second_vendor": d.second_vendor,
                        "second": d.second,
                        "cause": d.cause,
                    }
                    for d in open_
                ),
            },
        )

    return [vendors_confirm_each_other]

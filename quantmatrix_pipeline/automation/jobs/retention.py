"""The job `enforce_retention`: what has become older than the settings keep it goes."""

from dagster import Config, JobDefinition, OpExecutionContext, job, op
from pydantic import Field

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.assets.metadata import table
from quantmatrix_pipeline.automation.jobs.tags import LIMITS
from quantmatrix_pipeline.job_names import RETENTION
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.warehouse import retention


class RetentionConfig(Config):
    """How this run differs from the settings."""

    dry_run: bool = Field(default=False, description="only say what would go")
    max_days_5m: int | None = Field(default=None, ge=1, description="for QM_RETAIN_5M_DAYS")


def build() -> list[JobDefinition]:
    """Return the job; safe to run twice, daily bars and history are out of its reach."""

    @op
    def let_old_rows_go(context: OpExecutionContext, platform: Platform, config: RetentionConfig) -> None:
        """Months of intraday bars, superseded versions of bars and logs, each after its number of days."""
        limits = retention.Limits.of(platform.settings, bars_5m=config.max_days_5m)
        act = retention.find if config.dry_run else retention.enforce
        old = act(platform.warehouse, limits, clock.now())
        context.add_output_metadata(
            {
                "dry_run": config.dry_run,
                "rows": sum(o.rows for o in old),
                "bytes": sum(o.bytes for o in old),
                "old": table(
                    {"table": o.partition or o.table, "before": o.before, "rows": o.rows, "bytes": o.bytes} for o in old
                ),
            }
        )

    @job(name=RETENTION, tags=LIMITS, description="Let go what is older than the QM_RETAIN_ settings keep it.")
    def enforce_retention() -> None:
        let_old_rows_go()

    return [enforce_retention]

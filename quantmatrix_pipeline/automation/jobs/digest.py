"""The job that queues the digest of a session, once for each."""

from datetime import date

from dagster import Config, JobDefinition, OpExecutionContext, job, op
from pydantic import Field

from quantmatrix_pipeline.alerts import digest
from quantmatrix_pipeline.alerts.deliver import instant
from quantmatrix_pipeline.alerts.routing import Policy
from quantmatrix_pipeline.job_names import DIGEST
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.settings.alerts import channel_names
from quantmatrix_pipeline.warehouse import alert_outbox as outbox

OP = "queue_digest"


class DigestConfig(Config):
    """Of which session, and whether again."""

    session: str | None = Field(None, description="YYYY-MM-DD; default: the newest session of the history")
    again: bool = Field(False, description="send it though that session's was sent before")


def build() -> list[JobDefinition]:
    """Return the job; without QM_DIGEST_CHANNELS it only shows the digest on the run's page."""

    @op(name=OP)
    def queue_digest(context: OpExecutionContext, config: DigestConfig, platform: Platform) -> None:
        """Gather, draw and queue; the sensor that delivers alerts brings it."""
        settings = platform.settings
        found = digest.gather(
            platform.warehouse,
            platform.calendar,
            date.fromisoformat(config.session) if config.session else None,
            target=settings.coverage_target,
            now=instant(),
        )
        policy = Policy.of(settings)
        named = () if settings.digest_channels is None else channel_names(settings.digest_channels.get_secret_value())
        channels = policy.named(named)
        message = digest.message(found, policy.links)
        picture = digest.picture(found) if channels else None
        once = None if config.again else f"digest-{found.session}"
        with platform.warehouse.begin() as connection:
            ids = outbox.queue(connection, channels, message.as_json(), instant(), once=once, picture=picture)
        context.add_output_metadata(
            {"session": str(found.session), "queued": len(ids), "picture": picture is not None, **message.facts}
        )

    @job(
        name=DIGEST,
        description="Tell those of QM_DIGEST_CHANNELS what a session brought, once; after each chain it is started.",
        tags={"dagster/max_runtime": "600"},
    )
    def send_digest() -> None:
        queue_digest()

    return [send_digest]

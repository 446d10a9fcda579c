"""Tell people of schedules and sensors whose ticks fail for a while, and when they do no longer."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from quantmatrix_pipeline.alerts import troubles
from quantmatrix_pipeline.alerts.deliver import instant
from quantmatrix_pipeline.alerts.routing import Policy
from quantmatrix_pipeline.alerts.tell import tell
from quantmatrix_pipeline.assets.declare import OWNER
from quantmatrix_pipeline.resources.platform import Platform

LASTING_SECONDS = 180.0  # a database that restarts, or a file that is being written, is no news


def tell_of_ticks(
    platform: Platform, failing: Mapping[str, str], on: Collection[str], since: Mapping[str, float], now: float
) -> dict[str, float]:
    """Tell whose ticks have failed for three minutes or more, and whose do no longer; return since when which fail.

    Parameters
    ----------
    failing
        Schedule or sensor -> what its last tick failed with.
    on
        The schedules and sensors that are on.
    since
        What was returned the last time.
    now
        Seconds since 1970 of the machine's clock.
    """
    known = {name: since.get(name, now) for name in failing}
    lasting = {name: why for name, why in failing.items() if now - known[name] >= LASTING_SECONDS}
    ended = since.keys() - failing.keys()
    if lasting or ended:
        tell(
            platform.warehouse,
            Policy.of(platform.settings),
            instant(),
            groups=troubles.failing(lasting, (OWNER,)),
            well=[f"tick:{name}" for name in sorted(ended) if name in on],
            over=[f"tick:{name}" for name in sorted(ended) if name not in on],
        )
    return known

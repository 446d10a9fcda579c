"""Tags of a run as others may read them. Pure; shared by Dagster's own processes and by those that only ask it."""

from __future__ import annotations

from collections.abc import Mapping

from quantmatrix_pipeline.settings.alerts import alias

CHANNELS = "qm/channels"
HIDDEN = "***"


def shown(tags: Mapping[str, str]) -> dict[str, str]:
    """Return a run's tags without the addresses of channels: whoever launches a run may have written one there."""
    return {name: _aliases(value) if name == CHANNELS else value for name, value in tags.items()}


def _aliases(value: str) -> str:
    found: dict[str, None] = {}
    for part in value.replace("|", " ").replace(",", " ").split():
        try:
            found[alias(part)] = None
        except ValueError:
            found[HIDDEN] = None
    return ",".join(found)

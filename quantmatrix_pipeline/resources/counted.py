"""What a run's events count: the numbers in the metadata of assets, and of steps that make none."""

from __future__ import annotations

from collections.abc import Mapping

from dagster import DagsterEvent, DagsterEventType, MetadataValue

# The events that may count something.
COUNTING = (DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.STEP_OUTPUT)


def counted(event: DagsterEvent) -> tuple[str, dict[str, int | float]] | None:
    """Return the asset or step that an event is about, and its numbers by name; None: it counts nothing.

    The output of a step that makes an asset bears the same numbers as the asset, under the name of the step.
    """
    metadata: Mapping[str, MetadataValue]
    if event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
        assert event.asset_key is not None
        of, metadata = event.asset_key.to_user_string(), event.step_materialization_data.materialization.metadata
    elif event.event_type is DagsterEventType.STEP_OUTPUT:
        of, metadata = str(event.step_key), event.step_output_data.metadata
    else:
        return None
    numbers: dict[str, int | float] = {}
    for name, value in metadata.items():
        if type(value.value) in (int, float):  # True is an int, and counts nothing
            numbers[name] = value.value  # type: ignore[assignment]
    return (of, numbers) if numbers else None

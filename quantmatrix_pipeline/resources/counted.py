"""What a run's events count: the numbers in the metadata of assets, and of steps that make none."""

from __future__ import annotations

from collections.abc import Mapping

from dagster import DagsterEvent, DagsterEventType, MetadataValue

# The events that may count something.
COUNTING = (DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.STEP_OUTPUT)

Numbers = dict[str, int | float]


class Counted:
    """The numbers of a run's events, in whatever order these come.

    The output of a step that makes an asset bears the same numbers as the asset, and is left out.
    """

    def __init__(self) -> None:
        self._of_assets: dict[str, Numbers] = {}
        self._of_steps: dict[str, Numbers] = {}
        self._make_assets: set[str] = set()

    def add(self, event: DagsterEvent) -> None:
        """Take one of the events that may count something; of a range of sessions each bears the same."""
        if event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
            assert event.asset_key is not None
            self._make_assets.add(str(event.step_key))
            metadata = event.step_materialization_data.materialization.metadata
            self._of_assets.setdefault(event.asset_key.to_user_string(), {}).update(_numbers(metadata))
        elif event.event_type is DagsterEventType.STEP_OUTPUT:
            metadata = event.step_output_data.metadata
            self._of_steps.setdefault(str(event.step_key), {}).update(_numbers(metadata))

    def by_name(self) -> dict[str, Numbers]:
        """Return asset, or step that makes none, -> its numbers by name; without what counts nothing."""
        steps = {step: numbers for step, numbers in self._of_steps.items() if step not in self._make_assets}
        return {name: numbers for name, numbers in (self._of_assets | steps).items() if numbers}


def _numbers(metadata: Mapping[str, MetadataValue]) -> Numbers:
    numbers: Numbers = {}
    for name, value in metadata.items():
        if type(value.value) in (int, float):  # True is an int, and counts nothing
            numbers[name] = value.value  # type: ignore[assignment]
    return numbers

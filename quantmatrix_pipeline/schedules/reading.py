"""Read the text of a schedules file: entries, or every fault with the entry and the field that it concerns."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from quantmatrix_pipeline.errors import SchedulesInvalid
from quantmatrix_pipeline.schedules.entry import Catalogue


class _Loader(yaml.SafeLoader):
    """YAML as it is meant: a key that comes twice is a fault, not the later of the two."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key} comes twice", key_node.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep)


def parse(text: str, source: str) -> Catalogue:
    """Return the schedules that a text in YAML describes.

    Parameters
    ----------
    text
        The file's content.
    source
        Its name in what is said about it.

    Raises
    ------
    SchedulesInvalid
        Names entry and field of each fault, or the line where the text is no YAML.
    """
    try:
        data = yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SchedulesInvalid(source, [f"line {line}: {error.problem}"]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise SchedulesInvalid(source, [" ".join(str(error).split())]) from None
    return validated(data, source)


def validated(data: object, source: str) -> Catalogue:
    """Return the schedules in plain data, as YAML or JSON has it.

    Raises
    ------
    SchedulesInvalid
        Names entry and field of each fault.
    """
    if not isinstance(data, Mapping) or "schedules" not in data:
        raise SchedulesInvalid(source, ["the file has two keys: version: 1, and schedules: with a name for each entry"])
    try:
        catalogue = Catalogue.model_validate(data)
    except ValidationError as error:
        raise SchedulesInvalid(source, faults_of(error)) from None
    if faults := _across(catalogue):
        raise SchedulesInvalid(source, faults)
    return catalogue


def faults_of(error: ValidationError) -> list[str]:
    """Return a line for each fault: `entry.field: what is wrong`."""
    faults = []
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"] if part not in ("schedules", "[key]")) or "the file"
        message = "there is no such field" if fault["type"] == "extra_forbidden" else fault["msg"]
        faults.append(f"{place}: {message.removeprefix('Value error, ')}")
    return faults


def _across(catalogue: Catalogue) -> list[str]:
    """Return the faults between entries: one that waits for what there is not, or in a circle for itself."""
    faults = []
    first = {name: [a.schedule for a in entry.after] for name, entry in catalogue.schedules.items()}
    for name, others in first.items():
        faults += [
            f"{name}.after.{number}.schedule: there is no entry {other!r}"
            for number, other in enumerate(others)
            if other not in first
        ]
        if _reaches(first, others, name):
            faults.append(f"{name}.after: it would wait for itself")
    return faults


def _reaches(first: Mapping[str, Collection[str]], starts: Collection[str], goal: str) -> bool:
    seen: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            waiting += first.get(name, ())
    return False

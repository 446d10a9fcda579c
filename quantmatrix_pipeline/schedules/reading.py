"""Read the text of a schedules file: entries, or every fault with the entry and the field that it concerns."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from quantmatrix_pipeline.errors import SchedulesInvalid
from quantmatrix_pipeline.schedules.entry import Catalogue

_SAID = {  # what pydantic calls a fault -> how it is said here, of the value and of what the fault names
    "extra_forbidden": "there is no such field",
    "missing": "it must be there",
    "int_type": "{value} is no whole number",
    "int_parsing": "{value} is no whole number",
    "int_from_float": "{value} is no whole number",
    "bool_type": "{value} is neither true nor false",
    "bool_parsing": "{value} is neither true nor false",
    "string_type": "{value} is no text",
    "string_too_long": "it is longer than {max_length} characters",
    "string_pattern_mismatch": "{value} is no name: a letter, then letters, digits and underscores, 60 at most",
    "greater_than_equal": "{value} is less than {ge}",
    "less_than_equal": "{value} is more than {le}",
    "enum": "{value} is none of {expected}",
    "literal_error": "{value} is none of {expected}",
    "dict_type": "{value} is no list of fields with their values",
    "model_type": "{value} is no list of fields with their values",
    "tuple_type": "{value} is no list",
    "datetime_parsing": "{value} is no local time such as 2026-12-24T00:00",
    "datetime_from_date_parsing": "{value} is no local time such as 2026-12-24T00:00",
    "datetime_type": "{value} is no local time such as 2026-12-24T00:00",
}


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
        faults.append(f"{place}: {_said(fault)}")
    return faults


def _said(fault: ErrorDetails) -> str:
    if (plain := _SAID.get(fault["type"])) is None:
        return fault["msg"].removeprefix("Value error, ")
    return plain.format(value=repr(fault["input"]), **fault.get("ctx", {}))


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

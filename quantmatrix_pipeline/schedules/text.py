"""The text of a schedules file with one entry changed: all other lines, comments among them, stay as they are."""

from __future__ import annotations

from typing import Any

import yaml

from quantmatrix_pipeline.errors import SchedulesInvalid
from quantmatrix_pipeline.schedules.entry import Catalogue, Entry
from quantmatrix_pipeline.schedules.reading import parse

_WIDTH = 120


def described(entry: Entry) -> dict[str, Any]:
    """Return an entry as plain data, without what is as pre-set."""
    return entry.model_dump(mode="json", exclude_defaults=True)


def written(catalogue: Catalogue) -> str:
    """Return the text of a file that holds these schedules and nothing else."""
    entries = {name: described(entry) for name, entry in catalogue.schedules.items()}
    return _dump({"version": catalogue.version, "schedules": entries})


def with_entry(text: str, name: str, entry: Entry | None) -> str:
    """Return a file's text with an entry put in the place of the one of its name, added, or taken away (None).

    Parameters
    ----------
    text
        A file without a fault.
    name, entry
        The entry.
    """
    now = dict(parse(text, "before").schedules)
    if entry is None:
        now.pop(name, None)
    else:
        now[name] = entry
    wanted = Catalogue(version=1, schedules=now)
    try:
        changed = _edited(text, name, entry)
        if parse(changed, "after") == wanted:
            return changed
    except (SchedulesInvalid, LookupError):
        pass
    return written(wanted)  # a file in another style, such as JSON, is written anew


def _edited(text: str, name: str, entry: Entry | None) -> str:
    root = yaml.compose(text, yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    entries = next(value for key, value in root.value if key.value == "schedules")
    if entries.flow_style or not entries.value:
        raise LookupError("no block of entries")
    lines = text.splitlines(keepends=True)
    if not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    found = next(((key, value) for key, value in entries.value if key.value == name), None)
    key, value = found or entries.value[-1]
    begin, end = key.start_mark.line, _end(lines, value)
    if found is None:
        begin = end
    indent = " " * key.start_mark.column
    new = [] if entry is None else [indent + line for line in _dump({name: described(entry)}).splitlines(keepends=True)]
    if found is None:
        new.insert(0, "\n")
    return "".join([*lines[:begin], *new, *lines[end:]])


def _end(lines: list[str], value: yaml.Node) -> int:
    """Return the line after a value's last one; comments and blank lines after it are the next one's."""
    end = value.end_mark.line
    if end < len(lines) and lines[end][: value.end_mark.column].strip():
        end += 1
    while end and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return end


def _dump(data: object) -> str:
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=_WIDTH))

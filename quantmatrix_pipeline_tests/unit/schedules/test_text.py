"""An entry changed in a file's text: the other lines stay, whatever the file looks like."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.schedules.entry import Catalogue, Entry
from quantmatrix_pipeline.schedules.file import PACKAGED
from quantmatrix_pipeline.schedules.reading import parse
from quantmatrix_pipeline.schedules.text import with_entry, written

ENTRY = Entry.model_validate({"job": "x", "cron": "0 0 * * *"})
FILE = """\
# Ours.
version: 1

schedules:
  # the first
  a: {job: a, cron: 0 1 * * *}   # on one line

  # the second
  b:
    job: b
    cron: 0 2 * * *
    maintenance:
      - {start: '22:30', end: '23:30'}
  # that was all
"""


def test_only_the_lines_of_the_entry_change() -> None:
    changed = with_entry(FILE, "a", ENTRY)
    assert changed == FILE.replace(
        "  a: {job: a, cron: 0 1 * * *}   # on one line\n", "  a:\n    job: x\n    cron: 0 0 * * *\n"
    )
    without = with_entry(FILE, "b", None)
    assert without == FILE[: FILE.index("  b:")] + "  # that was all\n"
    added = with_entry(FILE, "c", ENTRY)
    assert added == FILE.replace("  # that was all\n", "\n  c:\n    job: x\n    cron: 0 0 * * *\n  # that was all\n")
    assert with_entry(FILE.rstrip("\n"), "c", ENTRY) == added


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 1, "schedules": {"a": {"job": "a", "cron": "0 1 * * *"}}}',
        "version: 1\nschedules: {}\n",
        "schedules:\n  a:\n    job: a\n    cron: 0 1 * * *\nversion: 1\n",
    ],
)
def test_in_whatever_style_the_file_is_written(text: str) -> None:
    before = parse(text, "before").schedules
    assert parse(with_entry(text, "c", ENTRY), "after").schedules == {**before, "c": ENTRY}
    without = with_entry(text, "a", None)
    assert parse(without, "after").schedules == {}
    assert parse(with_entry(without, "c", ENTRY), "after").schedules == {"c": ENTRY}


def test_the_packaged_file_survives_being_written_anew() -> None:
    packaged = parse(PACKAGED.read_text(), "packaged")
    assert parse(written(packaged), "written") == packaged


ENTRIES = st.builds(
    lambda description, days, tags, start: Entry.model_validate(
        {
            "job": "x",
            "cron": "0 0 * * *",
            "description": description,
            "tags": tags,
            "maintenance": [{"days": days, "start": start, "end": "12:00", "reason": description[:50]}],
            "config": {"ops": {"a": {"config": {"text": description}}}},
        }
    ),
    st.text(max_size=40),
    st.lists(st.sampled_from(["mon", "sun"]), min_size=1, unique=True),
    st.dictionaries(st.sampled_from(["team", "no", "1"]), st.text(max_size=10), max_size=2),
    st.sampled_from(["00:00", "09:05", "22:30"]),
)


@settings(max_examples=40, deadline=None)
@given(ENTRIES, st.sampled_from(["a", "b", "c"]))
def test_any_entry_is_read_back_as_it_was_put(entry: Entry, name: str) -> None:
    before = parse(FILE, "before").schedules
    assert parse(with_entry(FILE, name, entry), "after") == Catalogue(version=1, schedules={**before, name: entry})

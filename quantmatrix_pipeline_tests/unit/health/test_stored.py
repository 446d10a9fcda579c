"""What is told of migrations, clocks, refused lists of members and vendors that are left alone."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from quantmatrix_pipeline.health import stored
from quantmatrix_pipeline.health.finding import Verdict
from quantmatrix_pipeline.warehouse.vital_signs import RefusedMembers, VitalSigns

NOW = datetime(2021, 12, 31, 22, tzinfo=UTC)


def signs(*refused: RefusedMembers, circuits: dict[str, str] | None = None) -> VitalSigns:
    return VitalSigns(NOW, {}, {}, refused, dict.fromkeys(circuits or {}, "open"), circuits or {})


def test_a_migration_may_be_pending_edited_or_of_a_newer_release() -> None:
    found = stored.migrations({"0001_a": "x", "0003_c": "z"}, {"0001_a": "y", "0002_b": "v"})
    assert found.state is Verdict.BAD
    assert found.detail == "0001_a edited, 0002_b pending, 0003_c of a newer release; `qm db upgrade`"
    assert stored.migrations({"0001_a": "x"}, {"0001_a": "x"}).state is Verdict.OK


@pytest.mark.parametrize(
    ("apart", "state"), [(29.9, Verdict.OK), (-29.9, Verdict.OK), (31, Verdict.BAD), (-31, Verdict.BAD)]
)
def test_clocks_half_a_minute_apart_are_told(apart: float, state: Verdict) -> None:
    found = stored.clock(signs(), NOW.timestamp() + apart)
    assert found.state is state
    assert ("ahead of" if apart > 0 else "behind") in found.detail


def test_a_refused_list_is_bad_where_nobody_elses_was_taken() -> None:
    alone = RefusedMembers("SP500", date(2021, 12, 31), "files: came with 2 members", None, NOW)
    instead = RefusedMembers("DOW30", date(2021, 12, 31), "files: came with 3 members", "wikipedia", NOW)
    bad, note = stored.members(signs(alone, instead))
    assert (bad.what, bad.state) == ("members of SP500", Verdict.BAD)
    assert "came with 2 members" in bad.detail
    assert (note.what, note.state) == ("members of DOW30", Verdict.NOTE)
    assert "wikipedia's was taken instead" in note.detail


def test_a_vendor_left_alone_is_a_note() -> None:
    assert stored.vendors(signs()).state is Verdict.OK
    found = stored.vendors(signs(circuits={"polygon": "AuthFailed"}))
    assert found.state is Verdict.NOTE
    assert "polygon (AuthFailed)" in found.detail

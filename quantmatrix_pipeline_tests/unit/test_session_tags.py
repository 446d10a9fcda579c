"""Sessions in a run's tags: what is written is read, and what is no session is none."""

from __future__ import annotations

from datetime import date

import pytest

from quantmatrix_pipeline.dagster_client.session_tags import PARTITION, RANGE, range_tags, sessions_in, written

MONDAY, FRIDAY = date(2021, 12, 27), date(2021, 12, 31)


def test_a_range_is_read_as_it_was_written_and_stands_as_dagster_wants_it() -> None:
    tags = range_tags(MONDAY, FRIDAY)
    assert tags == {RANGE[0]: "2021-12-27", RANGE[1]: "2021-12-31"}
    assert sessions_in(tags | {"qm/actor": "ann"}) == (MONDAY, FRIDAY)
    assert written(MONDAY, FRIDAY) == "2021-12-27..2021-12-31"


def test_one_session_is_both_ends() -> None:
    assert sessions_in({PARTITION: "2021-12-31"}) == (FRIDAY, FRIDAY)
    assert written(FRIDAY, FRIDAY) == "2021-12-31"


@pytest.mark.parametrize("tags", [{}, {PARTITION: "AAPL"}, {RANGE[0]: "2021-12-27"}, {"quantmatrix/session": "x"}])
def test_without_a_whole_pair_of_days_there_is_none(tags: dict[str, str]) -> None:
    assert sessions_in(tags) is None

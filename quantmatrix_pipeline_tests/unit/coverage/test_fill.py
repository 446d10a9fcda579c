"""Who lives on which session, against a count one by one."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.coverage.fill import alive

DAYS = [date(2021, 1, 1) + timedelta(n) for n in range(12)]
LIVES = st.lists(st.tuples(st.sampled_from(DAYS), st.none() | st.integers(0, 12)), max_size=12)


@settings(max_examples=40)
@given(LIVES)
def test_an_instrument_lives_from_its_first_bar_to_the_day_before_its_delisting(
    lives: list[tuple[date, int | None]],
) -> None:
    spans = [(first, None if lasts is None else first + timedelta(lasts)) for first, lasts in lives]
    found = alive(np.array(DAYS, "datetime64[D]"), [f for f, _ in spans], [end for _, end in spans if end])
    assert found.tolist() == [sum(f <= day and (end is None or day < end) for f, end in spans) for day in DAYS]

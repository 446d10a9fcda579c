from __future__ import annotations

from datetime import date

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.bars.batch import BarBatch
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.vendors.shared.held_bars import HeldBars, weekday

SYMBOLS = ("A", "B", "C")
DAY = st.integers(-10, 30)  # around 1970-01-01, so that the days before it are tried too


def batch(entries: list[tuple[int, int]]) -> BarBatch:
    index = np.array([i for i, _ in entries], np.int32)
    session = np.array([d for _, d in entries], "datetime64[D]")
    price = np.arange(len(entries), dtype=np.float64)  # tells each row apart
    return BarBatch(SYMBOLS, index, session, price, price, price, price, price)


def numbers(bars: BarBatch) -> list[tuple[str, date, float]]:
    return sorted(
        (bars.symbols[i], d, c)
        for i, d, c in zip(bars.symbol_index.tolist(), bars.session.tolist(), bars.close.tolist(), strict=True)
    )


@given(
    st.lists(st.tuples(st.integers(0, 2), DAY), max_size=40),
    st.lists(st.lists(DAY, min_size=1, unique=True).map(sorted), min_size=1, max_size=3),
)
def test_serving_gives_exactly_the_rows_that_a_search_row_by_row_gives(
    entries: list[tuple[int, int]], asked: list[list[int]]
) -> None:
    bars = batch(entries)
    requests = [BarRequest(s, np.array(d, "datetime64[D]")) for s, d in zip(SYMBOLS, asked, strict=False)]
    expected = sorted(
        (SYMBOLS[i], np.datetime64(d, "D").item(), float(at))
        for at, (i, d) in enumerate(entries)
        if i < len(asked) and d in asked[i]
    )
    assert numbers(HeldBars(bars).serve(requests, weekends=False)) == expected


@given(st.lists(st.tuples(st.integers(0, 2), DAY), min_size=1, max_size=40))
def test_spans_are_the_first_and_last_dates(entries: list[tuple[int, int]]) -> None:
    spans = HeldBars(batch(entries)).spans()
    for place, symbol in enumerate(SYMBOLS):
        own = [d for i, d in entries if i == place]
        expected = (np.datetime64(min(own), "D").item(), np.datetime64(max(own), "D").item()) if own else None
        assert spans.get(symbol) == expected


@given(DAY)
def test_weekdays_are_those_of_the_calendar(day: int) -> None:
    session = np.array([day], "datetime64[D]")
    assert weekday(session)[0] == session[0].item().weekday()


def test_a_weekend_bar_travels_with_the_sessions_around_it() -> None:
    friday, saturday, sunday, monday = (np.datetime64(f"2021-01-{d:02}", "D") for d in (8, 9, 10, 11))
    held = HeldBars(batch([(0, int(d.astype(int))) for d in (friday, saturday, sunday, monday)]))

    def served(*sessions: np.datetime64) -> list[str]:
        return [str(d) for d in held.serve([BarRequest("A", np.array(sessions))]).session]

    assert served(friday) == ["2021-01-08", "2021-01-09", "2021-01-10"]
    assert served(monday) == ["2021-01-11"]
    assert served(friday, monday) == ["2021-01-08", "2021-01-09", "2021-01-10", "2021-01-11"]

"""Of the bars that a vendor gave, those asked for are served that had closed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.bars.batch import Basis, Floats
from quantmatrix_pipeline.errors import SymbolNotFound
from quantmatrix_pipeline.providers.answers import Instants
from quantmatrix_pipeline.providers.contract import BarRequest, IntradayRequest
from quantmatrix_pipeline.providers.vendors.shared.served_bars import (
    BarsPart,
    closed_daily_bars,
    no_bar,
    serve_daily,
    serve_intraday,
    united,
)

TEN = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)  # 10:00 in New York
DAYS = np.array(["2026-11-18", "2026-11-19", "2026-11-20"], "datetime64[D]")


def minutes(first: int, last: int) -> Instants:
    """Return the minutes from `first` to `last` after ten o'clock, both inclusive."""
    return np.datetime64("2026-11-20T15:00:00", "s") + np.arange(first, last + 1) * np.timedelta64(60, "s")


def columns(count: int, value: float = 1.0) -> tuple[Floats, ...]:
    return tuple(np.full(count, value + step) for step in range(5))


@given(st.integers(0, 3600), st.integers(0, 3600), st.integers(0, 3600), st.sampled_from([("1m", 60), ("5m", 300)]))
def test_bars_are_served_that_open_in_the_time_asked_for_and_have_closed(
    start: int, end: int, learned: int, interval: tuple[str, int]
) -> None:
    name, step = interval
    opened_at = minutes(0, 60)[:: step // 60]
    request = IntradayRequest("AAPL", name, TEN + timedelta(seconds=start), TEN + timedelta(seconds=end))
    at = TEN + timedelta(seconds=learned)
    bars = serve_intraday("fmp", request, opened_at, columns(len(opened_at)), at)
    expected = [second for second in range(0, 3601, step) if start <= second < end and second + step <= learned]
    assert bars.opened_at.tolist() == [(TEN + timedelta(seconds=s)).replace(tzinfo=None) for s in expected]
    assert len(bars.close) == len(bars.volume) == len(expected)


def test_a_bar_that_opens_within_the_second_of_the_start_but_before_it_is_not_served() -> None:
    request = IntradayRequest("AAPL", "1m", TEN + timedelta(milliseconds=1), TEN + timedelta(minutes=1, milliseconds=1))
    bars = serve_intraday("fmp", request, minutes(0, 2), columns(3), TEN + timedelta(hours=1))
    assert bars.opened_at.tolist() == [datetime(2026, 11, 20, 15, 1)]  # noqa: DTZ001 - UTC, as numpy has it


def test_intraday_bars_say_what_they_are_adjusted_for_and_up_to_when_they_know_the_market() -> None:
    request = IntradayRequest("AAPL", "1m", TEN, TEN + timedelta(hours=1))
    at = TEN + timedelta(minutes=30)
    raw = serve_intraday("fmp", request, minutes(0, 29), columns(30), at, known_until=at - timedelta(minutes=15))
    assert (len(raw.opened_at), raw.basis, raw.basis_date, raw.learned_at) == (15, Basis.RAW, None, at)
    adjusted = serve_intraday("fmp", request, minutes(0, 29), columns(30), at, adjusted_until=date(2026, 11, 20))
    assert (adjusted.basis, adjusted.basis_date) == (Basis.SPLIT, date(2026, 11, 20))


def test_parts_become_one_ascending_row_of_bars_in_which_the_first_part_counts() -> None:
    newest = BarsPart(minutes(2, 4)[::-1], columns(3, 10.0), TEN)
    older = BarsPart(minutes(0, 2), columns(3, 20.0), TEN)
    opened_at, found = united([newest, older])
    assert opened_at.tolist() == minutes(0, 4).tolist()
    assert found[0].tolist() == [20.0, 20.0, 10.0, 10.0, 10.0]
    assert [column[0] for column in found] == [20.0, 21.0, 22.0, 23.0, 24.0]


@pytest.mark.parametrize(("hour", "closed"), [(20, 2), (21, 3)])
def test_the_session_that_is_still_traded_has_no_daily_bar(hour: int, closed: int) -> None:
    at = datetime(2026, 11, 20, hour, 0, tzinfo=UTC)  # 15:00 and 16:00 in New York
    bars = closed_daily_bars("AAPL", DAYS[::-1], columns(3), at)
    assert bars.session.tolist() == DAYS[:closed].tolist()


def test_daily_bars_are_served_on_the_sessions_asked_for_and_a_symbol_without_any_is_silent() -> None:
    bars = closed_daily_bars("AAPL", DAYS, columns(3), datetime(2026, 11, 21, tzinfo=UTC))
    answer = serve_daily("fmp", BarRequest("AAPL", DAYS[1:2]), bars, TEN, adjusted_until=date(2026, 11, 20))
    assert answer.bars.session.tolist() == [date(2026, 11, 19)]
    assert (answer.basis, answer.basis_date, answer.silent) == (Basis.SPLIT, date(2026, 11, 20), ())
    nothing = serve_daily("fmp", BarRequest("AAPL", DAYS[:1] - 7), bars, TEN)
    assert (len(nothing.bars), nothing.silent, nothing.basis) == (0, ("AAPL",), Basis.RAW)


def test_no_bar_at_all_is_said_of_the_symbol_and_of_the_time() -> None:
    error = no_bar("fmp", "NOPE", date(2026, 11, 1), date(2026, 11, 20))
    assert isinstance(error, SymbolNotFound)
    assert str(error) == "fmp: NOPE: no bar from 2026-11-01 to 2026-11-20: not known there, or not traded in that time"

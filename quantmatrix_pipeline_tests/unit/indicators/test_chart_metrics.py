"""Chart metrics against literal references: drawn panels, real bars with holes, and bar by bar in answer files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from quantmatrix_pipeline.indicators.engine import compute
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline_tests.unit.indicators.panels import column, ragged_panels, real_panel, series
from quantmatrix_pipeline_tests.unit.indicators.stretches import LITERAL, STRETCHES, real_bars, worked_out, written

NOT_COLUMNS = ("session", "rule")


def check(panel: Panel, instruments: list[int]) -> None:
    values = compute(panel)
    for instrument in instruments:
        high, low, close = series(panel, instrument)
        for metric, literal in LITERAL.items():
            rows = literal(high, low, close)
            for name in rows[0] if rows else ():
                if name not in NOT_COLUMNS:
                    wanted = [np.nan] * (len(close) - len(rows)) + [float(row[name]) for row in rows]
                    found = column(values, name, instrument, panel)
                    np.testing.assert_array_equal(found, wanted, err_msg=f"{metric}: {name} of {instrument}")


@settings(max_examples=40, deadline=None)
@given(ragged_panels(most_bars=250))
def test_drawn_panels_follow_the_rules(panel: Panel) -> None:
    check(panel, list(range(panel.width)))


def test_real_bars_with_holes_follow_the_rules() -> None:
    check(real_panel(12, missing=0.01), list(range(12)))


@pytest.mark.parametrize("symbol", STRETCHES)
@pytest.mark.parametrize("metric", LITERAL)
def test_a_real_stretch_is_bar_by_bar_what_its_answer_file_says(metric: str, symbol: str) -> None:
    answers = written(metric, symbol)
    assert worked_out(metric, symbol) == answers
    panel = real_bars(symbol)
    values = compute(panel)
    place = np.searchsorted(panel.session[:, 0], np.array([row["session"] for row in answers], "datetime64[D]"))
    for name in answers[0]:
        if name not in NOT_COLUMNS:
            found = column(values, name, 0, panel)[place]
            np.testing.assert_array_equal(found, [float(row[name]) for row in answers], err_msg=name)


def test_the_answer_files_of_td_sequential_meet_every_rule() -> None:
    told = {
        rule for symbol in STRETCHES for row in written("td_sequential", symbol) for rule in row["rule"].split("; ")
    }
    assert told >= {
        *(f"{side} {event}" for side in ("buy", "sell") for event in ("setup complete", "setup perfected")),
        *(f"{side} countdown {n}" for side in ("buy", "sell") for n in range(1, 14)),
        *(f"{side} {event}" for side in ("buy", "sell") for event in ("13 deferred", "countdown recycled")),
        *(f"{side} countdown cancelled by TDST" for side in ("buy", "sell")),
        "buy countdown cancelled by sell setup",
        "sell countdown cancelled by buy setup",
    }


def test_the_answer_files_of_gaps_meet_every_rule() -> None:
    told = {rule for symbol in STRETCHES for row in written("gaps", symbol) for rule in row["rule"].split("; ")}
    assert told >= {f"gap {way} {event}".strip() for way in ("up", "down") for event in ("", "filled", "too narrow")}


def test_the_answer_files_of_trend_lines_meet_every_rule() -> None:
    told = {rule for symbol in STRETCHES for row in written("trend_lines", symbol) for rule in row["rule"].split("; ")}
    assert told >= {f"line {way} {event}" for way in ("up", "down") for event in ("drawn", "broken")}
    assert told >= {"pivot low known", "pivot high known"}


def one(close: list[float], reach: float = 0.0) -> Panel:
    prices = np.array(close)
    days = np.datetime64("2020-01-01") + np.arange(len(close))
    volume = np.ones(len(close))
    return Panel.from_rows(np.zeros(len(close), np.int32), days, prices, prices + reach, prices - reach, prices, volume)


def told(panel: Panel, name: str) -> list[float]:
    return column(compute(panel), name, 0, panel).tolist()


def test_falls_from_the_first_bar_on_are_no_setup_for_no_flip_began_them() -> None:
    panel = one([100.0 - bar for bar in range(30)])
    assert told(panel, "td_buy_setup")[5:] == [0.0] * 25


def test_a_setup_counts_to_nine_and_stays_there_while_the_run_goes_on() -> None:
    panel = one([100.0] * 6 + [100.0 - bar for bar in range(1, 15)])
    assert told(panel, "td_buy_setup")[5:] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9]
    assert told(panel, "td_buy_complete")[5:] == [0] * 9 + [1] + [0] * 5
    assert told(panel, "td_perfect_buy")[5:] == [0] * 9 + [1] * 6
    assert told(panel, "td_buy_countdown")[5:] == [0] * 9 + [1, 2, 3, 4, 5, 6]
    assert told(panel, "td_sell_setup")[5:] == [0] * 15


def test_a_close_equal_to_the_one_four_bars_before_ends_a_setup_though_a_split_moved_it_by_an_ulp() -> None:
    closes = [100.0] * 6 + [99.0, 98.0, 97.0, 96.0, 95.0, np.nextafter(98.0, 0), 94.0]
    assert told(one(closes), "td_buy_setup")[6:] == [1, 2, 3, 4, 5, 0, 1]


def ranges(bars: list[tuple[float, float]]) -> Panel:
    """Bars given by low and high, closing in the middle."""
    low, high = (np.array(side) for side in zip(*bars, strict=True))
    days = np.datetime64("2020-01-01") + np.arange(len(bars))
    middle = (low + high) / 2
    return Panel.from_rows(np.zeros(len(bars), np.int32), days, middle, high, low, middle, np.ones(len(bars)))


def test_gaps_count_until_price_comes_back_to_their_far_edge_the_newest_first() -> None:
    panel = ranges([(99, 100), (102, 103), (105, 106), (103.5, 104), (102.9, 104), (101, 103), (100, 102)])
    assert told(panel, "gaps_unfilled_up")[1:] == [1, 2, 2, 1, 1, 0]
    assert told(panel, "gaps_unfilled_down")[1:] == [0, 0, 1, 1, 1, 1]


def test_a_gap_of_half_a_percent_counts_and_a_narrower_one_does_not() -> None:
    assert told(ranges([(99, 100), (100.5, 101)]), "gaps_unfilled_up")[1:] == [1]
    assert told(ranges([(99, 100), (100.499, 101)]), "gaps_unfilled_up")[1:] == [0]
    assert told(ranges([(100, 101), (99, 99.5)]), "gaps_unfilled_down")[1:] == [1]
    assert told(ranges([(100, 101), (99, 99.501)]), "gaps_unfilled_down")[1:] == [0]


def test_a_price_on_the_edge_of_a_gap_fills_it_though_a_split_moved_it_by_an_ulp() -> None:
    assert told(ranges([(99, 100), (102, 103), (np.nextafter(100.0, 101), 101)]), "gaps_unfilled_up")[1:] == [1, 0]
    assert told(ranges([(100, 101), (97, 98), (98, np.nextafter(100.0, 99))]), "gaps_unfilled_down")[1:] == [1, 0]


def test_more_gaps_than_were_ever_open_before_are_all_counted_and_closed_by_one_bar() -> None:
    panel = ranges([(100.0 * 1.02**k, 100.5 * 1.02**k) for k in range(100)] + [(50.0, 51.0)])
    assert told(panel, "gaps_unfilled_up")[1:] == [*range(1, 100), 0]


def vee(bottoms: list[tuple[int, float]], last: int) -> list[float]:
    """Closes that run straight between the bottoms over tops of 100 midway."""
    corners = [(0, 100.0)]
    for (bar, level), (then, _) in zip(bottoms, [*bottoms[1:], (last + 30, 0.0)], strict=True):
        corners += [(bar, level), ((bar + then) // 2, 100.0)]
    return np.interp(np.arange(last + 1), *zip(*corners, strict=True)).tolist()


def test_a_line_is_known_twenty_bars_after_its_newer_low_and_goes_once_a_low_is_a_tenth_of_a_range_below() -> None:
    closes = vee([(25, 80.0), (75, 85.0)], 130)
    panel = one(closes, reach=0.5)
    held = told(panel, "trend_up_count")
    assert held[40:95] == [0.0] * 55
    assert held[95:] == [1.0] * 36
    atr = column(compute(panel), "atr_14", 0, panel)[120]
    line = 79.5 + (84.5 - 79.5) / 50 * (120 - 25)
    for beyond, wanted in ((0.05, 1.0), (0.5, 0.0)):
        low = panel.low.copy()
        low[120] = line - beyond * atr
        pierced = Panel.from_rows(
            np.zeros(131, np.int32), *(getattr(panel, name)[:, 0] for name in ("session", "open", "high")),
            low[:, 0], panel.close[:, 0], panel.volume[:, 0],
        )  # fmt: skip
        assert told(pierced, "trend_up_count")[119:] == [1.0] + [wanted] * 11


@pytest.mark.parametrize(("ranges_below", "holds"), [(0.1, 1.0), (0.100001, 0.0)])
def test_a_low_a_tenth_of_its_own_bars_range_below_the_line_leaves_it(ranges_below: float, holds: float) -> None:
    panel = one(vee([(25, 80.0), (75, 85.0)], 130), reach=0.5)
    before = column(compute(panel), "atr_14", 0, panel)[119]
    top = max(panel.high[120, 0], panel.close[119, 0])
    line = 79.5 + (84.5 - 79.5) / 50 * (120 - 25)
    # low = line - k ATR, and ATR = (13 before + top - low) / 14
    panel.low[120] = (line - ranges_below * (13 * before + top) / 14) / (1 - ranges_below / 14)
    assert told(panel, "trend_up_count")[119:121] == [1.0, holds]


@pytest.mark.parametrize("second", [80.0, np.nextafter(80.0, 81)])
def test_of_equal_lows_neither_is_lower_and_no_line_joins_them(second: float) -> None:
    panel = one(vee([(25, 80.0), (75, second)], 130))
    assert set(told(panel, "trend_up_count")[40:]) == {0.0}
    assert told(one(vee([(25, 80.0), (75, 80.01)], 130)), "trend_up_count")[95] == 1.0


def test_of_equal_lows_within_twenty_bars_the_last_is_the_pivot() -> None:
    closes = vee([(25, 80.0), (75, 85.0)], 130)
    closes[80] = closes[75]
    assert told(one(closes, reach=0.5), "trend_up_count")[94:101] == [0.0] * 6 + [1.0]

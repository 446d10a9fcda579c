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

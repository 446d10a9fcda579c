"""Volume and the distances from averages against references that go bar by bar from the definitions."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pytest
from hypothesis import given, settings

from quantmatrix_pipeline.indicators.engine import compute
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline_tests.unit.indicators.panels import Floats, column, ragged_panels, real_panel, series


def year_vwap(days: list[dt.date], high: Floats, low: Floats, close: Floats, volume: Floats) -> list[float]:
    result = []
    for bar, day in enumerate(days):
        own = [k for k in range(bar + 1) if days[k].year == day.year]
        if own[0] == 0:
            result.append(np.nan)
            continue
        shares = sum(volume[k] for k in own)
        money = sum(volume[k] * (high[k] + low[k] + close[k]) / 3 for k in own)
        result.append(money / shares if shares else close[bar])
    return result


def relative_volume(volume: Floats) -> list[float]:
    result = [np.nan] * min(19, len(volume))
    for bar in range(19, len(volume)):
        usual = sum(volume[bar - 19 : bar + 1]) / 20
        result.append(volume[bar] / usual if usual else 0.0)
    return result


def dollar_volume(close: Floats, volume: Floats) -> list[float]:
    """TA-Lib's running sum keeps a rest of larger bars: a window without a trade is not zero there."""
    money = close * volume
    return [math.fsum(money[bar - 19 : bar + 1]) / 20 if bar >= 19 else math.nan for bar in range(len(close))]


def check(panel: Panel, instruments: list[int]) -> None:
    values = compute(panel)
    for instrument in instruments:
        high, low, close = series(panel, instrument)
        volume = panel.volume[: len(close), instrument]
        days = panel.session[: len(close), instrument].tolist()
        own = {
            name: column(values, name, instrument, panel)
            for name in ("atr_14", *(f"sma_{n}" for n in (21, 50, 100, 150)), *(f"ema_{n}" for n in (8, 21, 200)))
        }
        atr = own["atr_14"]
        expected = {
            "vwap_ytd": year_vwap(days, high, low, close, volume),
            "relative_volume_20d": relative_volume(volume),
            "dollar_volume_20d": dollar_volume(close, volume),
        }
        with np.errstate(all="ignore"):
            for n in (21, 100, 150):
                expected[f"atrx_sma_{n}"] = np.where(atr == 0, 0.0 * own[f"sma_{n}"], (close - own[f"sma_{n}"]) / atr)
            for n in (8, 21, 200):
                average = own[f"ema_{n}"]
                expected[f"pct_dist_ema{n}"] = 100 * (close - average) / average
                expected[f"atr_dist_ema{n}"] = np.where(atr == 0, 0.0 * average, (close - average) / atr)
            multiple = (close / own["sma_50"] - 1) / (atr / close)
            expected["atr_multiple_sma_50"] = np.where(atr == 0, 0.0 * own["sma_50"], multiple)
        for name, wanted in expected.items():
            found = column(values, name, instrument, panel)
            # A distance is exact to the size of the price in the unit in which it is counted, not to its own size.
            floor = (
                1e-12 * np.nanmax(close / np.where(atr > 0, atr, np.nan), initial=1e3) if "volume" not in name else 0.0
            )
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=floor, err_msg=f"{name} of {instrument}")


@settings(max_examples=30, deadline=None)
@given(ragged_panels(most_bars=300))
def test_drawn_panels_follow_the_definitions(panel: Panel) -> None:
    check(panel, list(range(panel.width)))


def test_real_bars_with_holes_follow_the_definitions() -> None:
    check(real_panel(6, missing=0.01).cut(800), [1, 4])


def one(close: list[float], volume: list[float], first: str = "2020-12-30") -> Panel:
    prices = np.array(close)
    days = np.datetime64(first) + np.arange(len(close))
    return Panel.from_rows(np.zeros(len(close), np.int32), days, prices, prices, prices, prices, np.array(volume))


def test_the_average_since_the_year_began_starts_anew_and_is_the_close_while_nothing_is_traded() -> None:
    panel = one([10.0, 20.0, 30.0, 40.0, 50.0], [5.0, 5.0, 0.0, 1.0, 3.0])
    assert column(compute(panel), "vwap_ytd", 0, panel)[2:].tolist() == [30.0, 40.0, 47.5]


def test_an_instrument_that_began_within_the_year_has_no_average_since_the_year_began() -> None:
    panel = one([10.0, 20.0, 30.0], [5.0, 5.0, 5.0], first="2021-02-01")
    assert np.isnan(column(compute(panel), "vwap_ytd", 0, panel)).all()


def test_volume_goes_with_the_close_and_against_it_and_an_equal_close_changes_nothing() -> None:
    panel = one([10.0, 11.0, 11.0, 10.5, 12.0], [100.0, 7.0, 1000.0, 20.0, 3.0])
    assert column(compute(panel), "obv", 0, panel).tolist() == [100.0, 107.0, 107.0, 87.0, 90.0]


def test_a_close_that_a_split_carried_over_by_an_ulp_is_no_change() -> None:
    panel = one([0.3, 0.1 * 3, 0.3], [100.0, 10.0, 10.0])
    assert panel.close[1, 0] != panel.close[0, 0]
    assert column(compute(panel), "obv", 0, panel).tolist() == [100.0, 100.0, 100.0]


def test_without_any_trade_the_relative_volume_is_zero() -> None:
    panel = one([10.0] * 25, [0.0] * 25)
    assert column(compute(panel), "relative_volume_20d", 0, panel)[19:].tolist() == [0.0] * 6


@pytest.mark.parametrize(("close", "sign"), [(12.0, 1), (8.0, -1)])
def test_the_distance_in_percent_of_the_range_is_the_one_in_ranges_times_close_over_average(
    close: float, sign: int
) -> None:
    panel = one([10.0, 11.0] * 30 + [close], [1.0] * 61)
    values = {
        name: column(compute(panel), name, 0, panel)[-1] for name in ("atr_distance", "atr_multiple_sma_50", "sma_50")
    }
    assert np.sign(values["atr_distance"]) == sign
    assert values["atr_multiple_sma_50"] == pytest.approx(values["atr_distance"] * close / values["sma_50"], rel=1e-12)

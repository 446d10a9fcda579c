"""Where TA-Lib has nothing: slow references written from the definitions, one bar at a time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings

from quantmatrix_pipeline.indicators.catalogue import COLUMN_INDEX, ENGINE_COLUMNS, MA_BUCKET_LABELS, RANGE_WINDOWS
from quantmatrix_pipeline.indicators.engine import compute
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline_tests.unit.indicators.panels import Floats, column, ragged_panels, real_panel, series

PERIOD: dict[str, Callable[[dt.date], object]] = {
    "perf_mtd": lambda day: (day.year, day.month),
    "perf_qtd": lambda day: (day.year, (day.month - 1) // 3),
    "perf_ytd": lambda day: day.year,
}


def since_period(sessions: list[dt.date], close: Floats, name: str) -> Floats:
    period = PERIOD[name]
    result = []
    for bar, day in enumerate(sessions):
        earlier = [k for k in range(bar) if period(sessions[k]) != period(day)]
        result.append(100.0 * (close[bar] / close[earlier[-1]] - 1.0) if earlier else np.nan)
    return np.array(result)


def range_position(high: Floats, low: Floats, close: Floats, n: int) -> Floats:
    result = []
    for bar in range(len(close)):
        if bar < n - 1:
            result.append(np.nan)
            continue
        top, bottom = max(high[bar - n + 1 : bar + 1]), min(low[bar - n + 1 : bar + 1])
        result.append(50.0 if top == bottom else 100.0 * (close[bar] - bottom) / (top - bottom))
    return np.array(result)


def buckets(close: Floats) -> list[str]:
    result = []
    for bar in range(len(close)):
        if bar < 199:
            result.append("UNKNOWN")
            continue
        chain = [close[bar]] + [float(np.mean(close[bar - n + 1 : bar + 1])) for n in (5, 8, 21, 50, 100, 200)]
        pairs = list(pairwise(chain))
        if all(a > b and not np.isclose(a, b, rtol=1e-12, atol=0) for a, b in pairs):
            result.append("LEADING")
        elif all(a < b and not np.isclose(a, b, rtol=1e-12, atol=0) for a, b in pairs):
            result.append("LAGGING")
        else:
            result.append("NEUTRAL")
    return result


def check(panel: Panel, instruments: list[int]) -> None:
    values = compute(panel)
    for instrument in instruments:
        high, low, close = series(panel, instrument)
        sessions = panel.session[: len(close), instrument].tolist()
        for name in PERIOD:
            np.testing.assert_allclose(
                column(values, name, instrument, panel), since_period(sessions, close, name), rtol=1e-9, atol=1e-12
            )
        for name, n in RANGE_WINDOWS.items():
            np.testing.assert_allclose(
                column(values, f"range_pos_{name}", instrument, panel),
                range_position(high, low, close, n),
                rtol=1e-9,
                atol=1e-9,
            )
        codes = column(values, "ma_bucket", instrument, panel)
        assert [MA_BUCKET_LABELS[int(code)] for code in codes] == buckets(close)


@settings(max_examples=15, deadline=None)
@given(ragged_panels(most_bars=270))
def test_drawn_panels_follow_the_definitions(panel: Panel) -> None:
    check(panel, list(range(panel.width)))


def test_real_bars_with_holes_follow_the_definitions() -> None:
    panel = real_panel(6, missing=0.01).cut(600)
    check(panel, [1, 4])


def test_real_bars_reach_every_bucket() -> None:
    codes = compute(real_panel(48))[:, COLUMN_INDEX["ma_bucket"]]
    assert set(np.unique(codes[~np.isnan(codes)])) == {0.0, 1.0, 2.0, 3.0}


def one(close: list[float], first: str = "2020-01-01") -> Panel:
    prices = np.array(close)
    days = np.datetime64(first) + np.arange(len(close))
    return Panel.from_rows(np.zeros(len(close), np.int32), days, prices, prices, prices, prices, prices)


@pytest.mark.parametrize(
    ("slope", "aligned", "bucket"), [(1.0, 1.0, "LEADING"), (-1.0, 0.0, "LAGGING"), (0.0, 1.0, "NEUTRAL")]
)
def test_a_straight_line_stands_in_order(slope: float, aligned: float, bucket: str) -> None:
    """On the flat line all averages are equal: >= holds, > does not, whatever the rounding of its cent price."""
    panel = one([400.1 + slope * bar for bar in range(260)])
    values = compute(panel)
    assert (column(values, "ma_aligned", 0, panel)[199:] == aligned).all()
    assert (column(values, "ma_bucket", 0, panel)[199:] == MA_BUCKET_LABELS.index(bucket)).all()
    assert np.isnan(column(values, "ma_aligned", 0, panel)[:199]).all()


def test_a_price_that_never_moved_has_values_in_every_column() -> None:
    panel = one([10.1] * 700)
    last = dict(zip(COLUMN_INDEX, compute(panel)[-1, :, 0], strict=True))
    assert last["range_pos_20d"] == last["range_pos_52w"] == 50.0
    assert last["rsi"] == last["adx"] == last["plus_di"] == last["atr_14"] == last["atr_distance"] == 0.0
    of_others = {column.name for column in ENGINE_COLUMNS if column.shared}
    assert {name for name, value in last.items() if np.isnan(value)} <= of_others


def test_year_to_date_starts_from_the_last_close_before_the_year_however_long_the_halt() -> None:
    prices = np.array([8.0, 10.0, 11.0, 12.0])
    days = np.array(["2019-06-03", "2019-06-04", "2021-02-01", "2021-02-02"], "datetime64[D]")
    panel = Panel.from_rows(np.zeros(4, np.int32), days, prices, prices, prices, prices, prices)
    np.testing.assert_allclose(column(compute(panel), "perf_ytd", 0, panel), [np.nan, np.nan, 10.0, 20.0])


def test_the_distance_from_the_average_is_counted_in_true_ranges() -> None:
    panel = real_panel(3)
    values = compute(panel)
    close = panel.close[: panel.length[0], 0]
    expected = (close - column(values, "sma_50", 0, panel)) / column(values, "atr_14", 0, panel)
    np.testing.assert_allclose(column(values, "atr_distance", 0, panel), expected, rtol=1e-9, atol=1e-12)

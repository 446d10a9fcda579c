"""TA-Lib is the reference: the same NaN masks, and values to a relative 1e-12 on real bars, to 1e-9 on drawn ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from quantmatrix_pipeline.indicators.catalogue import (
    ATR_WINDOWS,
    EMA_WINDOWS,
    PERF_WINDOWS,
    SMA_WINDOWS,
    VOLUME_WINDOWS,
)
from quantmatrix_pipeline.indicators.engine import compute
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline_tests.unit.indicators.panels import (
    Floats,
    all_of,
    column,
    ragged_panels,
    real_panel,
    series,
    with_splits,
)

talib = pytest.importorskip("talib")

EMA200_BARS = (
    660  # the engine shows EMA200 from bar 660 on, TA-Lib from bar 200: the rows between are masked in TA-Lib's
)


def level_with_equals(close: Floats) -> Floats:
    """Closes that a split set apart by an ulp made equal again: to the engine they are equal, TA-Lib compares bits."""
    return np.array([float(f"{price:.11g}") for price in close])


def talib_columns(high: Floats, low: Floats, close: Floats, volume: Floats) -> dict[str, Floats]:
    columns = {"rsi": talib.RSI(close, 14)}
    columns |= {f"sma_{n}": talib.SMA(close, n) for n in SMA_WINDOWS}
    columns |= {f"ema_{n}": talib.EMA(close, n) for n in EMA_WINDOWS}
    columns["ema_200"][: EMA200_BARS - 1] = np.nan
    columns |= {f"atr_{n}": talib.ATR(high, low, close, n) for n in ATR_WINDOWS}
    columns |= {f"atrp_{n}": talib.NATR(high, low, close, n) for n in ATR_WINDOWS}
    columns["adx"] = talib.ADX(high, low, close, 14)
    columns["plus_di"] = talib.PLUS_DI(high, low, close, 14)
    columns["minus_di"] = talib.MINUS_DI(high, low, close, 14)
    columns["macd"], columns["macd_signal"], columns["macd_histogram"] = talib.MACD(close, 12, 26, 9)
    columns |= {f"perf_{n}d": talib.ROC(close, n) for n in PERF_WINDOWS}
    columns |= {f"volume_avg_{n}d": talib.SMA(volume, n) for n in VOLUME_WINDOWS}
    columns["dollar_volume_20d"] = talib.SMA(close * volume, 20)
    columns["obv"] = talib.OBV(level_with_equals(close), volume)
    return columns


def assert_equal_to_talib(panel: Panel, rtol: float = 1e-12) -> None:
    values = compute(panel)
    for instrument in range(panel.width):
        high, low, close = series(panel, instrument)
        volume = panel.volume[: len(close), instrument].copy()
        for name, expected in talib_columns(high, low, close, volume).items():
            # A difference of averages is exact to the averages' size, not to its own when they cancel.
            floor = 1e-12 * np.abs(close).max() if name.startswith("macd") else 0.1 * rtol * (name in {"adx", "rsi"})
            if "volume" in name:  # TA-Lib's running sum keeps what is left of larger bars before the window
                floor = 1e-12 * np.abs(volume * (close if "dollar" in name else 1.0)).max()
            found = column(values, name, instrument, panel)
            np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), err_msg=f"{name} of {instrument}")
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=floor, err_msg=f"{name} of {instrument}")


def test_real_bars_give_what_talib_gives() -> None:
    assert_equal_to_talib(real_panel(48))


def test_real_bars_with_one_percent_of_the_rows_missing_give_what_talib_gives() -> None:
    assert_equal_to_talib(real_panel(48, missing=0.01))


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(("daily", "us_daily_2015_2021.parquet"), marks=pytest.mark.slow),
        pytest.param(("daily_second_source", "us_daily_2015_2021.parquet"), marks=pytest.mark.slow),
        ("daily", "benchmarks_1990_2021.parquet"),
        ("raw_and_actions", "raw_unadjusted.parquet"),
        ("raw_and_actions", "raw_adjusted_dividends_splits.parquet"),
    ],
    ids="/".join,
)
def test_every_real_symbol_gives_what_talib_gives(file: tuple[str, str]) -> None:
    for panel in all_of(*file):
        assert_equal_to_talib(panel)


def test_real_bars_that_were_split_give_what_talib_gives() -> None:
    splits = {k: [(200 + 37 * k, 3.0), (900 + k, 0.1), (901 + k, 7.0)] for k in range(0, 24, 2)}
    assert_equal_to_talib(with_splits(real_panel(24), splits))


@settings(max_examples=60, deadline=None)
@given(ragged_panels())
def test_drawn_panels_give_what_talib_gives(panel: Panel) -> None:
    assert_equal_to_talib(panel, rtol=1e-9)

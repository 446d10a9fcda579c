"""Dividends and their adjustment: real bad ones come out as they should, sound ones untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantmatrix_pipeline.bars.repair.catalogue import MIN_CONFIDENCE
from quantmatrix_pipeline.bars.repair.dividends import DividendSeries, Fault, repair_dividends
from quantmatrix_pipeline_tests.shared_data import ROOT, shared_data

FOLDER = ROOT / "repair"
BAD = sorted(p.name.removesuffix("-fixed.csv") for p in FOLDER.glob("*-fixed.csv"))
SOUND = sorted(p.name for p in FOLDER.glob("*no-bad-divs.csv"))
# A repaired step is 1 - d / p; the files have some that are 100 times a step which had been rounded to seven digits.
ROUNDED = 1e-4


def read(path: Path) -> DividendSeries:
    table = pd.read_csv(path)
    names = ("Open", "High", "Low", "Close", "Volume", "Adj Close", "Dividends", "Stock Splits")
    session = table["Datetime"].str[:10].to_numpy().astype("datetime64[D]")
    return DividendSeries(session, *(table[name].to_numpy(np.float64) for name in names))


def test_the_cases_are_there() -> None:
    shared_data("repair")
    assert (len(BAD), len(SOUND)) == (22, 7)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_case_comes_out_as_its_fixed_file_says(name: str) -> None:
    bad, fixed = read(FOLDER / f"{name}.csv"), read(FOLDER / f"{name}-fixed.csv")
    done = repair_dividends(bad)
    assert done.found
    assert all(f.confidence >= MIN_CONFIDENCE for f in done.found)
    assert np.allclose(done.dividend, fixed.dividend, rtol=1e-9, atol=0)
    assert np.allclose(done.adjusted_close, fixed.adjusted_close, rtol=ROUNDED, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_control_is_untouched(name: str) -> None:
    bars = read(FOLDER / name)
    done = repair_dividends(bars)
    assert done.found == ()
    assert np.array_equal(done.dividend, bars.dividend)
    assert np.array_equal(done.adjusted_close, bars.adjusted_close)


def other_vendors_stocks() -> dict[str, DividendSeries]:
    """Return stocks of another vendor with at least four dividends and no split; none of them was at hand before."""
    table = pd.read_parquet(shared_data("raw_and_actions", "raw_adjusted_dividends_splits.parquet"))
    names = ("open", "high", "low", "close", "volume", "adjclose", "divcash", "splitfactor")
    found = {}
    for symbol, own in table.sort_values("date").groupby("symbol"):
        if (own["splitfactor"] == 1).all() and (own["divcash"] > 0).sum() >= 4:
            session = own["date"].to_numpy().astype("datetime64[D]")
            found[str(symbol)] = DividendSeries(session, *(own[name].to_numpy(np.float64) for name in names))
    return found


def test_sound_dividends_of_another_vendor_and_convention_are_untouched() -> None:
    stocks = other_vendors_stocks()
    assert len(stocks) >= 8
    assert {symbol: repair_dividends(bars).found for symbol, bars in stocks.items()} == dict.fromkeys(stocks, ())


def altered(bars: DividendSeries, dividend: np.ndarray, steps: dict[int, float]) -> DividendSeries:
    """Return the series with other dividends, and with some steps of its adjustment multiplied."""
    adjusted = bars.adjusted_close.copy()
    for row, times in steps.items():
        adjusted[:row] *= times
    return DividendSeries(
        bars.session, bars.open, bars.high, bars.low, bars.close, bars.volume, adjusted, dividend, bars.split
    )


def test_amounts_a_hundred_times_too_large_in_another_vendors_data_are_put_right_or_left() -> None:
    """Every dividend of a stock in cents, its adjustment in dollars."""
    for symbol, bars in other_vendors_stocks().items():
        done = repair_dividends(altered(bars, bars.dividend * 100, {}))
        assert np.allclose(done.dividend, bars.dividend, rtol=1e-12), symbol
        assert np.array_equal(done.adjusted_close, bars.adjusted_close), symbol
        assert {f.fault for f in done.found} == {Fault.AMOUNT}


def test_a_missing_step_is_put_in_and_a_dividend_that_stands_twice_taken_out() -> None:
    for symbol, bars in other_vendors_stocks().items():
        row = int(np.flatnonzero(bars.dividend > 0)[1])
        step = 1 - bars.dividend[row] / bars.close[row - 1]
        done = repair_dividends(altered(bars, bars.dividend, {row: 1 / step}))
        assert [f.fault for f in done.found] == [Fault.ADJUSTMENT], symbol
        assert np.allclose(done.adjusted_close, bars.adjusted_close, rtol=1e-3), symbol

        doubled = bars.dividend.copy()
        doubled[row - 1] = doubled[row]
        twice = repair_dividends(altered(bars, doubled, {row - 1: step}))
        assert [f.fault for f in twice.found] == [Fault.TWICE], symbol
        assert (twice.dividend > 0).sum() == (bars.dividend > 0).sum(), symbol
        assert np.allclose(twice.adjusted_close[: row - 1], bars.adjusted_close[: row - 1], rtol=1e-3), symbol


def test_what_is_too_unsure_is_told_and_not_done() -> None:
    bars = read(shared_data("repair", "KAP-IL-1d-bad-div.csv"))
    done = repair_dividends(bars, at_least=0.95)
    assert [(f.fault, round(f.confidence, 2)) for f in done.found] == [(Fault.TWICE, 0.92)]
    assert np.array_equal(done.dividend, bars.dividend)
    assert np.array_equal(done.adjusted_close, bars.adjusted_close)

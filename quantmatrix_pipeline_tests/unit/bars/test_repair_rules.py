"""The rules of repair one by one: what each takes for a fault, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from quantmatrix_pipeline.bars.repair.catalogue import MIN_CONFIDENCE, RULES
from quantmatrix_pipeline.bars.repair.detect import find_repairs
from quantmatrix_pipeline.bars.repair.finding import Finding
from quantmatrix_pipeline.bars.repair.junk import read_bar, read_number
from quantmatrix_pipeline.bars.repair.second_source import SecondSource
from quantmatrix_pipeline.bars.rules import BarRows
from quantmatrix_pipeline_tests.shared_data import shared_data

FIELDS = ("open", "high", "low", "close", "volume")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12.5", 12.5),
        ("$12.50", 12.5),
        ("US$ 12.50", 12.5),
        ("12.50 USD", 12.5),
        ("EUR 12,50", 12.5),
        ("1,234.50", 1234.5),
        ("1.234,50", 1234.5),
        ("1 234 567", 1234567.0),
        ("1'234'567.8", 1234567.8),
        ("1,234", 1234.0),  # or 1.234: the neighbours say which
        ("12.50*", 12.5),
        ("12.50 (a)", 12.5),
        ("\u00a012.50\u202f", 12.5),
        ("\u221212.5", -12.5),
        ("1.5e3", 1500.0),
        (".5", 0.5),
    ],
)
def test_a_number_whose_digits_are_whole_is_read(text: str, number: float) -> None:
    assert read_number(text) == number


NO_NUMBERS = (
    """|n/a|halted|1O5.2|12.5.2|1,23,4|12 13|12-13|12.5%|1_000|inf|nan|12.5 13.1|$|{"error": "12"}|12h|0x1f|1,2345.6"""
)


@pytest.mark.parametrize("text", NO_NUMBERS.split("|"))
def test_what_may_be_something_else_is_not(text: str) -> None:
    assert read_number(text) is None


def test_a_row_without_the_cells_of_a_bar_holds_none() -> None:
    assert read_bar({"line": "404 Not Found"}) is None
    assert read_bar({"Open": "1", "High": "$2", "low": 0.5, "CLOSE": "x", "volume": None}) == (1, 2, 0.5, None, None)


def bars(close: np.ndarray, instrument: np.ndarray | None = None, **given: np.ndarray) -> BarRows:
    n = len(close)
    days = np.datetime64("2021-01-04") + np.arange(n)
    columns = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": np.full(n, 1e6)}
    columns |= given
    index = np.zeros(n, np.int32) if instrument is None else instrument
    return BarRows(
        index,
        days,
        **columns,
        unit=np.ones(n),
        is_new=np.ones(n, bool),
        without_volume=np.zeros(int(index.max()) + 1, bool),
    )


def sure(found: list[Finding]) -> list[Finding]:
    return [f for f in found if f.confidence >= MIN_CONFIDENCE]


def quiet(n: int = 80, seed: int = 3) -> np.ndarray:
    return 50 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, n)))


@pytest.mark.parametrize("times", [2.0, 0.5, 100.0, 0.01, 10.0, 1.5])
def test_a_step_that_stays_is_left_alone(times: float) -> None:
    close = quiet()
    close[40:] *= times
    assert sure(find_repairs(bars(close))) == []


def test_a_step_that_is_taken_back_only_in_part_is_no_slip() -> None:
    close = quiet()
    close[40:45] *= 2
    close[45:] *= 1.4
    assert sure(find_repairs(bars(close))) == []


@pytest.mark.parametrize("times", [1.8, 2.6, 0.62, 90.0])
def test_a_factor_that_no_slip_has_is_none(times: float) -> None:
    close = quiet()
    close[40:43] *= times
    assert sure(find_repairs(bars(close))) == []


def test_the_next_instrument_is_no_neighbour() -> None:
    close = np.concatenate([quiet(40), 100 * quiet(40, seed=4), quiet(40, seed=5)])
    assert find_repairs(bars(close, np.repeat(np.arange(3, dtype=np.int32), 40))) == []


def test_two_slips_of_opposite_sides_are_both_put_right_and_not_what_lies_between() -> None:
    close = quiet()
    told = close.copy()
    told[30:33] *= 2
    told[50:52] /= 2
    found = sure(find_repairs(bars(told)))
    assert [f.row for f in found] == [30, 31, 32, 50, 51]
    assert [f.repaired[3] for f in found if f.repaired] == pytest.approx(close[[30, 31, 32, 50, 51]].tolist())


def test_a_stock_that_often_does_not_move_keeps_its_bars() -> None:
    close = quiet()
    close[::2] = close[1::2]  # every second bar repeats the one before
    close[1::2] = close[::2]
    volume = np.where(np.arange(80) % 2 == 1, 0.0, 1e6)
    flat = {"high": close.copy(), "low": close.copy(), "volume": volume}
    assert sure(find_repairs(bars(close, **flat))) == []


def test_fields_of_two_sources_that_do_not_fit_together_are_taken_whole_from_the_second() -> None:
    close = quiet()
    rows = bars(close)
    rows.low[40] = 0.0
    theirs = np.stack([rows.open, rows.high, rows.low, rows.close, rows.volume])
    theirs[:4, 40] = close[40] * 1.004, close[40] * 1.009, close[40] * 1.003, close[40] * 1.005
    second = SecondSource(rows.instrument_index, rows.session, theirs, np.ones(80), "second")
    (found,) = sure(find_repairs(rows, second=second))
    assert found.repaired == tuple(theirs[:, 40])
    assert found.evidence["second_source"] == "second"


def test_a_second_source_that_differs_from_the_first_around_the_bar_is_not_believed() -> None:
    rows = bars(quiet())
    theirs = np.stack([rows.open, rows.high, rows.low, rows.close, rows.volume])
    theirs[:4] *= 1.02
    rows.close[40] = 0.0
    second = SecondSource(rows.instrument_index, rows.session, theirs, np.ones(80), "second")
    (found,) = find_repairs(rows, second=second)
    assert found.confidence == pytest.approx(0.8)


def test_the_real_rows_that_break_rules_have_nothing_that_could_take_their_place() -> None:
    real = pd.read_parquet(shared_data("bad_rows", "rule_violations.parquet")).sort_values(["symbol", "date"])
    index, _ = pd.factorize(real["symbol"])
    values = {name: real[name].to_numpy(np.float64) for name in FIELDS}
    rows = BarRows(
        index.astype(np.int32),
        pd.to_datetime(real["date"]).to_numpy().astype("datetime64[D]"),
        **values,
        unit=np.ones(len(real)),
        is_new=np.ones(len(real), bool),
        without_volume=np.zeros(int(index.max()) + 1, bool),
    )
    assert sure(find_repairs(rows)) == []


def test_every_rule_says_what_it_does() -> None:
    for name, rule in RULES.items():
        assert rule.name == name
        assert all(len(said) > 20 for said in (rule.looks_for, rule.does, rule.confidence))

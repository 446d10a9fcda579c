"""Mansfield's relative strength against a literal reference and answers; what a benchmark is where it has holes."""

from __future__ import annotations

import csv
import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.indicators.benchmark import Benchmark
from quantmatrix_pipeline.indicators.catalogue import COLUMN_INDEX, RS_BENCHMARK_LABELS
from quantmatrix_pipeline.indicators.engine import compute, last_rows
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline_tests.unit.indicators import literal_strength
from quantmatrix_pipeline_tests.unit.indicators.panels import (
    column,
    known_at,
    named_panel,
    ragged_panels,
    real_panel,
    same_bits,
    series,
)

RS = "rs_mansfield_pct"


def against(panel: Panel, benchmark: Benchmark) -> Panel:
    return dataclasses.replace(panel, benchmark=benchmark)


def check(panel: Panel, of: int) -> None:
    """Every instrument against the one at `of`."""
    life = slice(0, panel.length[of])
    closes = dict(zip(panel.session[life, of].tolist(), panel.close[life, of].tolist(), strict=True))
    measured = against(panel, Benchmark.of_instrument(panel, of))
    values = compute(measured)
    for instrument in range(panel.width):
        _, _, close = series(panel, instrument)
        sessions = panel.session[: len(close), instrument].tolist()
        expected = np.array([s for _, _, s in literal_strength.strengths(sessions, close.tolist(), closes)])
        found = column(values, RS, instrument, panel)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
        codes = column(values, "rs_benchmark", instrument, panel)
        assert [RS_BENCHMARK_LABELS[int(code)] for code in codes] == [
            "UNKNOWN" if math.isnan(x) else "BENCHMARK" for x in expected
        ]


@settings(max_examples=20, deadline=None)
@given(ragged_panels(most_bars=420), st.data())
def test_drawn_panels_follow_the_definition_against_any_of_them(panel: Panel, data: st.DataObject) -> None:
    check(panel, data.draw(st.integers(0, panel.width - 1)))


def test_real_bars_follow_the_definition() -> None:
    check(real_panel(4), 2)


def test_real_stretches_are_told_as_in_the_answers() -> None:
    with literal_strength.ANSWERS.open(newline="") as file:
        answers = list(csv.DictReader(file))
    symbols = sorted(literal_strength.STRETCHES)
    panel = named_panel(*symbols)
    values = compute(against(panel, Benchmark.of_instrument(panel, symbols.index("SPY"))))
    for instrument, symbol in enumerate(symbols):
        rows = {row["session"]: row for row in answers if row["symbol"] == symbol}
        at = [str(day) in rows for day in panel.session[: panel.length[instrument], instrument]]
        wanted = [float(row[RS] or "nan") for row in rows.values()]
        np.testing.assert_allclose(column(values, RS, instrument, panel)[at], wanted, rtol=1e-8, atol=1e-9)
    assert {row["rule"] for row in answers} == {"fewer than 52 weeks", "new week", "week to date"}


def test_a_benchmark_against_itself_is_zero_and_against_a_growing_one_negative() -> None:
    panel = real_panel(2)
    itself = compute(against(panel, Benchmark.of_instrument(panel, 0)))
    known = column(itself, RS, 0, panel)
    np.testing.assert_allclose(known[~np.isnan(known)], 0.0, atol=1e-9)
    days = panel.session[: panel.length[0], 0]
    steep = Benchmark.of_closes(days, panel.close[: len(days), 0] * np.exp(0.01 * np.arange(len(days))))
    assert (column(compute(against(panel, steep)), RS, 0, panel)[300:] < -50).all()


def test_a_hole_of_the_benchmark_takes_its_last_close_of_the_week_and_none_of_the_week_before() -> None:
    days = np.array(["2021-03-01", "2021-03-02", "2021-03-11"], "datetime64[D]")  # Monday, Tuesday, Thursday after next
    benchmark = Benchmark.of_closes(days, np.array([10.0, 11.0, 12.0]))
    asked = np.arange(np.datetime64("2021-02-26"), np.datetime64("2021-03-17"))
    found = dict(zip(asked.astype(str).tolist(), benchmark.at(asked).tolist(), strict=True))
    assert found["2021-03-01"] == 10.0
    assert found["2021-03-02"] == found["2021-03-05"] == found["2021-03-07"] == 11.0
    assert found["2021-03-11"] == found["2021-03-14"] == 12.0
    assert all(math.isnan(found[day]) for day in ("2021-02-26", "2021-02-28", "2021-03-08", "2021-03-10", "2021-03-15"))
    assert math.isnan(benchmark.at(np.array(["NaT"], "datetime64[D]"))[0])


def test_a_benchmark_that_began_in_midweek_lends_no_later_close_to_the_days_before() -> None:
    days = np.array(["2021-03-02", "2021-03-04"], "datetime64[D]")  # Tuesday and Thursday of one week
    benchmark = Benchmark.of_closes(days, np.array([10.0, 11.0]))
    week = np.arange(np.datetime64("2021-03-01"), np.datetime64("2021-03-06"))
    np.testing.assert_array_equal(benchmark.at(week), [np.nan, 10.0, 10.0, 11.0, 11.0])


def test_the_universes_mean_chains_the_mean_change_of_those_that_traded() -> None:
    days = np.array(["2021-03-01", "2021-03-02", "2021-03-03", "2021-03-02", "2021-03-03"], "datetime64[D]")
    close = np.array([10.0, 11.0, 22.0, 50.0, 25.0])
    panel = Panel.from_rows(np.array([1, 1, 1, 2, 2], np.int32), days, close, close, close, close, close)
    mean = Benchmark.of_universe(panel, np.array([True, True]))
    assert mean.universe
    np.testing.assert_allclose(mean.at(days[:3]), [1.0, 1.1, 1.1 * (2.0 + 0.5) / 2])
    np.testing.assert_allclose(Benchmark.of_universe(panel, np.array([True, False])).at(days[:3]), [1.0, 1.1, 2.2])
    assert np.isnan(Benchmark.of_universe(panel, np.array([False, False])).at(days)).all()


@settings(max_examples=20, deadline=None)
@given(ragged_panels(), st.data())
def test_later_sessions_change_no_bit_of_the_universes_mean(panel: Panel, data: st.DataObject) -> None:
    everyone = np.ones(panel.width, np.bool_)
    last = data.draw(st.sampled_from(np.unique(panel.session[~np.isnat(panel.session)]).tolist()))
    earlier = known_at(panel, np.datetime64(last))
    days = np.arange(np.datetime64("2015-01-01"), np.datetime64(last) + 1)
    assert same_bits(
        Benchmark.of_universe(earlier, everyone[earlier.instrument_ids]).at(days),
        Benchmark.of_universe(panel, everyone).at(days),
    )


def test_prices_with_dividends_and_prices_without_are_not_divided_by_each_other() -> None:
    panel = real_panel(3)
    lowered = dataclasses.replace(panel, dividends_in=np.array([False, True, False]))
    values = last_rows(against(lowered, Benchmark.of_instrument(lowered, 0)))[COLUMN_INDEX[RS]]
    assert np.isnan(values).tolist() == [False, True, False]
    values = last_rows(against(lowered, Benchmark.of_instrument(lowered, 1)))[COLUMN_INDEX[RS]]
    assert np.isnan(values).tolist() == [True, False, True]


def test_without_a_benchmark_there_is_no_relative_strength() -> None:
    panel = real_panel(2)
    values = compute(panel)
    assert np.isnan(column(values, RS, 0, panel)).all()
    assert (column(values, "rs_benchmark", 0, panel) == RS_BENCHMARK_LABELS.index("UNKNOWN")).all()


@pytest.mark.parametrize("width", [1, 4])
def test_strips_of_another_width_and_the_last_rows_have_the_same_bits(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = real_panel(6, missing=0.01)
    panel = against(panel, Benchmark.of_instrument(panel, 5))
    whole = compute(panel)
    assert same_bits(last_rows(panel), whole[panel.length - 1, :, np.arange(6)].T)
    monkeypatch.setattr("quantmatrix_pipeline.indicators.engine.TILE_WIDTH", width)
    assert same_bits(compute(panel), whole)

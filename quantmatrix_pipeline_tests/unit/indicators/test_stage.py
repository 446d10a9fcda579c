"""The weekly stage against a literal reference and against answers on real turns; weeks are the instrument's own."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.indicators.catalogue import STAGE_LABELS
from quantmatrix_pipeline.indicators.engine import compute
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline.indicators.stage_rules import RULES_VERSION, StageRules
from quantmatrix_pipeline_tests.unit.indicators import literal_stage
from quantmatrix_pipeline_tests.unit.indicators.panels import (
    Floats,
    column,
    named_panel,
    ragged_panels,
    real_panel,
    series,
)


def labels(values: Floats, name: str, instrument: int, panel: Panel) -> list[str]:
    return [STAGE_LABELS[int(code)] for code in column(values, name, instrument, panel)]


def check(panel: Panel, instruments: list[int]) -> None:
    rules = panel.stage_rules
    values = compute(panel)
    for instrument in instruments:
        _, _, close = series(panel, instrument)
        sessions = panel.session[: len(close), instrument].tolist()
        expected = literal_stage.stages(sessions, close.tolist(), rules.flat, rules.near, rules.far)
        found = labels(values, "stage_label", instrument, panel)
        assert found == [stage.label for stage in expected]
        assert labels(values, "stage_label_5d_ago", instrument, panel) == (["UNKNOWN"] * 5 + found)[: len(found)]
        for name, numbers in (
            ("sma_30w", [stage.average for stage in expected]),
            ("stage_slope_pct", [stage.slope for stage in expected]),
            ("stage_dist_pct", [stage.distance for stage in expected]),
        ):
            wanted = np.array([np.nan if x is None else x for x in numbers])
            np.testing.assert_allclose(
                column(values, name, instrument, panel), wanted, rtol=1e-9, atol=1e-9 if name.endswith("pct") else 0
            )


@settings(max_examples=8, deadline=None)
@given(
    ragged_panels(most_bars=420),
    st.sampled_from([StageRules(), StageRules(flat=0.5, near=2.0, far=2.0), StageRules(flat=0.0001, near=1.0, far=40)]),
)
def test_drawn_panels_follow_the_definition_under_any_thresholds(panel: Panel, rules: StageRules) -> None:
    check(dataclasses.replace(panel, stage_rules=rules), list(range(panel.width)))


def test_real_bars_with_holes_follow_the_definition() -> None:
    check(real_panel(30, missing=0.01), [0, 7, 29])


def test_real_turns_are_told_as_in_the_answers() -> None:
    with literal_stage.ANSWERS.open(newline="") as file:
        answers = list(csv.DictReader(file))
    panel = named_panel(*literal_stage.STRETCHES)
    values = compute(panel)
    checked = 0
    for instrument, symbol in enumerate(sorted(literal_stage.STRETCHES)):
        rows = {row["session"]: row for row in answers if row["symbol"] == symbol}
        at = [str(day) in rows for day in panel.session[: panel.length[instrument], instrument]]
        assert [row["label"] for row in rows.values()] == np.array(labels(values, "stage_label", instrument, panel))[
            at
        ].tolist()
        for name, answer in (
            ("sma_30w", "sma_30w"),
            ("stage_slope_pct", "slope_pct"),
            ("stage_dist_pct", "distance_pct"),
        ):
            wanted = [float(row[answer] or "nan") for row in rows.values()]
            np.testing.assert_allclose(column(values, name, instrument, panel)[at], wanted, rtol=1e-8)
        checked += len(rows)
    assert checked == len(answers)
    assert {row["label"] for row in answers} == set(STAGE_LABELS)


def weekly(closes: list[float], weekday: int = 4) -> Panel:
    """One bar a week, on Fridays unless said."""
    monday = np.datetime64("2020-01-06")
    days = monday + np.arange(len(closes)) * 7 + weekday
    prices = np.array(closes)
    return Panel.from_rows(np.zeros(len(closes), np.int32), days, prices, prices, prices, prices, prices)


def last_label(panel: Panel) -> str:
    return labels(compute(panel), "stage_label", 0, panel)[-1]


def test_thirty_five_weeks_are_needed_however_many_bars_they_have() -> None:
    panel = weekly([100.0 + week for week in range(36)])
    found = labels(compute(panel), "stage_label", 0, panel)
    assert found == ["UNKNOWN"] * 34 + ["2B", "2B"]
    for name in ("sma_30w", "stage_slope_pct", "stage_dist_pct"):
        assert np.isnan(column(compute(panel), name, 0, panel)).tolist() == [True] * 34 + [False] * 2


def test_a_week_runs_from_monday_to_sunday_for_those_who_trade_on_both() -> None:
    """35 weeks of seven bars: the first label stands on the Monday that begins the 35th."""
    days = np.datetime64("2020-01-06") + np.arange(7 * 35)
    prices = np.full(len(days), 100.0)
    panel = Panel.from_rows(np.zeros(len(days), np.int32), days, prices, prices, prices, prices, prices)
    assert labels(compute(panel), "stage_label", 0, panel) == ["UNKNOWN"] * 7 * 34 + ["1"] * 7


def test_a_week_cut_short_by_holidays_counts_as_one_and_a_halt_of_weeks_as_none() -> None:
    """Fridays or Mondays, the same weeks; with three of them left out, three fewer."""
    rising = [100.0 + week for week in range(40)]
    for weekday in (0, 4):
        panel = weekly(rising, weekday)
        assert labels(compute(panel), "stage_label", 0, panel).count("UNKNOWN") == 34
    days = [dt.date(2020, 1, 6) + dt.timedelta(weeks=week) for week in range(40) if week not in (10, 11, 12)]
    assert literal_stage.stages(days, rising[:37])[-1].weeks == 37
    halted = weekly(rising)
    kept = np.array([week not in (10, 11, 12) for week in range(40)])
    prices = np.array(rising)[kept]
    panel = Panel.from_rows(np.zeros(37, np.int32), halted.session[kept, 0], prices, prices, prices, prices, prices)
    assert labels(compute(panel), "stage_label", 0, panel).count("UNKNOWN") == 34


@pytest.mark.parametrize(
    ("closes", "label"),
    [
        ([100.0] * 40, "1"),
        ([100.1] * 35 + [90.0], "4"),
        ([100.0] * 35 + [101.6], "2A"),
        ([100.0] * 34 + [102.0, 100.5], "3"),
        ([100.0] * 34 + [110.0, 100.2, 100.2, 100.2], "3"),
        ([100.0] * 34 + [90.0, 99.9, 99.9], "1"),
        ([100.0] * 35 + [112.0], "2B"),
        ([100.0] * 35 + [130.0], "2C"),
    ],
)
def test_a_few_weeks_after_a_flat_base_get_the_label_of_their_rule(closes: list[float], label: str) -> None:
    assert last_label(weekly(closes)) == label


def at(percent: float) -> float:
    """The last of thirty closes, the others 100, that lies so far from the mean of all."""
    ratio = 1 + percent / 100
    return 2900 * ratio / (30 - ratio)


@pytest.mark.parametrize("unit", [1.0, 1.001, 0.333, 7.77])
@pytest.mark.parametrize(
    ("closes", "label", "beyond"),
    [
        ([100.0] * 35 + [101.5], "1", "2A"),  # the average, 100 a week ago, is 100.05
        ([100.0] * 35 + [at(5)], "2A", "2B"),
        ([100.0] * 35 + [at(15)], "2B", "2C"),
        ([100.0] * 5 + [70.0] + [100.0] * 30, "1", "2A"),  # it rises, and the price stands on it
        ([100.0] * 5 + [at(5)] + [100.0] * 29 + [at(5)], "1", "3"),  # what leaves is what comes: no change
    ],
)
def test_on_a_threshold_counts_as_within_it_and_a_millionth_beyond_does_not(
    closes: list[float], label: str, beyond: str, unit: float
) -> None:
    prices = [unit * close for close in closes]
    assert last_label(weekly(prices)) == label
    assert last_label(weekly([*prices[:-1], prices[-1] * (1 + 1e-6)])) == beyond


@pytest.mark.parametrize("unit", [1.0, 1.001, 0.333, 7.77])
@pytest.mark.parametrize(
    ("closes", "label", "beyond"),
    [
        ([100.0] * 35 + [98.5], "1", "4"),  # the average, 100 a week ago, is 99.95
        ([100.0] * 5 + [130.0] + [100.0] * 30, "1", "4"),  # it falls, and the price stands on it
        ([100.0] * 5 + [at(-5)] + [100.0] * 29 + [at(-5)], "1", "3"),
    ],
)
def test_thresholds_below_the_average_are_the_same(closes: list[float], label: str, beyond: str, unit: float) -> None:
    prices = [unit * close for close in closes]
    assert last_label(weekly(prices)) == label
    assert last_label(weekly([*prices[:-1], prices[-1] * (1 - 1e-6)])) == beyond


def test_a_week_to_date_that_breaks_out_and_falls_back_leaves_no_trace() -> None:
    """The label remembers completed weeks only: a Wednesday above everything is forgotten by Friday."""
    monday = np.datetime64("2020-01-06")
    days = np.append(monday + np.arange(36) * 7, monday + 35 * 7 + np.array([2, 4]))
    prices = np.array([100.0] * 36 + [120.0, 100.0])
    panel = Panel.from_rows(np.zeros(38, np.int32), days, prices, prices, prices, prices, prices)
    assert labels(compute(panel), "stage_label", 0, panel)[-3:] == ["1", "2C", "1"]


def test_every_row_says_by_which_thresholds_its_label_was_told() -> None:
    panel = dataclasses.replace(real_panel(2), stage_rules=StageRules(flat=0.1, near=4.0, far=20.0))
    values = compute(panel)
    for name, value in (
        ("stage_rules_version", RULES_VERSION),
        ("stage_flat_pct", 0.1),
        ("stage_near_pct", 4.0),
        ("stage_far_pct", 20.0),
    ):
        assert (column(values, name, 1, panel) == value).all()

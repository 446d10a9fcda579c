"""Breadth against a count row by row over what the history records; one session and a range have the same numbers."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.indicators.breadth import AVERAGES, BREADTH_COLUMNS, STAGE_COLUMNS, MarketBreadth
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline.snapshots import rows as analysis
from quantmatrix_pipeline_tests.unit.indicators.panels import ragged_panels, real_panel

Told = dict[date, dict[str, float]]


def same(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-12 * abs(b)


def counted(panel: Panel, first: date) -> Told:
    """Every session's breadth, one instrument after the other, from the rows as the history has them."""
    told: dict[date, Counter[str]] = {}
    for table in analysis.range_rows(panel, first, analysis.ranks(panel, first)):
        for row in table.to_pylist():
            place = panel.instrument_ids.tolist().index(row["instrument_id"])
            life = panel.session[: panel.length[place], place].tolist()
            bar = life.index(row["session"])
            close, own = panel.close[: bar + 1, place], told.setdefault(row["session"], Counter())
            own["instruments"] += 1
            if bar:
                moved = (
                    "unchanged" if same(close[-1], close[-2]) else "advances" if close[-1] > close[-2] else "declines"
                )
                own[moved] += 1
            for n in AVERAGES:
                average = row[f"sma_{n}"]
                if average is not None:
                    own[f"with_sma_{n}"] += 1
                    own[f"above_sma_{n}"] += row["close"] > average and not same(row["close"], average)
            if bar >= 251:
                own["with_252_bars"] += 1
                high, low = panel.high[bar - 251 : bar + 1, place], panel.low[bar - 251 : bar + 1, place]
                own["new_highs_252"] += all(high[-1] > x and not same(high[-1], x) for x in high[:-1])
                own["new_lows_252"] += all(low[-1] < x and not same(low[-1], x) for x in low[:-1])
            own[STAGE_COLUMNS[row["stage_label"]]] += 1
    return {day: _with_shares(own) for day, own in sorted(told.items())}


def _with_shares(own: Counter[str]) -> dict[str, float]:
    row = {column.name: float(own[column.name]) for column in BREADTH_COLUMNS}
    for n in AVERAGES:
        among = row[f"with_sma_{n}"]
        row[f"pct_above_sma_{n}"] = 100 * row[f"above_sma_{n}"] / among if among else math.nan
    return row


def found(breadth: MarketBreadth) -> Told:
    columns = {name: values.tolist() for name, values in breadth.values.items()}
    return {
        day: {name: float(values[k]) for name, values in columns.items()}
        for k, day in enumerate(breadth.sessions.tolist())
    }


def check(told: Told, expected: Told) -> None:
    assert list(told) == list(expected)
    for day, row in expected.items():
        assert list(told[day]) == [column.name for column in BREADTH_COLUMNS]
        for name, value in row.items():
            assert told[day][name] == value or (math.isnan(value) and math.isnan(told[day][name])), (day, name)


@settings(max_examples=25, deadline=None)
@given(ragged_panels(most_bars=300), st.data())
def test_drawn_panels_are_counted_row_by_row(panel: Panel, data: st.DataObject) -> None:
    days = np.unique(panel.session[~np.isnat(panel.session)])
    first = data.draw(st.sampled_from(days[-40:].tolist()))
    check(found(MarketBreadth.over_sessions(panel, np.datetime64(first))), counted(panel, first))


def test_real_bars_are_counted_row_by_row_and_every_column_has_something_to_count() -> None:
    panel = real_panel(25, missing=0.01)
    first = date(2021, 11, 1)
    told = found(MarketBreadth.over_sessions(panel, np.datetime64(first)))
    check(told, counted(panel, first))
    assert len(told) > 40
    never = {name for name in next(iter(told.values())) if not any(row[name] > 0 for row in told.values())}
    assert never <= {"unchanged", "stage_unknown"}, "these have no case on two months of large stocks"


def test_one_session_alone_has_the_numbers_of_the_range_whoever_stopped_before_it() -> None:
    panel = real_panel(25, missing=0.05)
    whole = found(MarketBreadth.over_sessions(panel, np.datetime64("2021-12-01")))
    for day in list(whole)[-5:]:
        bars = (panel.session <= np.datetime64(day)).sum(axis=0)
        cut = cut_at(panel, bars)
        assert found(MarketBreadth.of_session(cut, np.datetime64(day))) == {day: whole[day]}
    assert not len(MarketBreadth.of_session(panel, np.datetime64("2022-01-03")).sessions)


def cut_at(panel: Panel, bars: np.ndarray) -> Panel:
    beyond = np.arange(panel.bars)[:, None] >= bars
    fields = {name: np.where(beyond, np.nan, getattr(panel, name)) for name in ("open", "high", "low", "close", "unit")}
    session = np.where(beyond, np.datetime64("NaT"), panel.session)
    return dataclasses.replace(panel, session=session, length=bars.astype(np.int64), **fields)


@pytest.mark.parametrize(
    ("last", "highs", "lows"), [(9.0, 0, 0), (10.0, 0, 0), (10.0 * (1 + 1e-13), 0, 0), (10.1, 1, 0)]
)
def test_a_new_high_is_above_every_one_of_the_bars_before_and_to_reach_one_is_none(
    last: float, highs: int, lows: int
) -> None:
    high = np.array([10.0] * 251 + [last])
    days = np.datetime64("2020-01-01") + np.arange(252)
    panel = Panel.from_rows(np.zeros(252, np.int32), days, high, high, high - 5.0, high, np.ones(252))
    told = MarketBreadth.of_session(panel, days[-1]).values
    assert (told["new_highs_252"].tolist(), told["with_252_bars"].tolist()) == ([highs], [1])
    assert MarketBreadth.over_sessions(panel, days[-2]).values["with_252_bars"].tolist() == [0, 1]


def test_a_split_makes_no_low_and_no_decline() -> None:
    days = np.datetime64("2020-01-01") + np.arange(260)
    unit = np.where(np.arange(260) < 255, 1.0, 4.0)
    forward = np.full(260, 100.0)
    panel = Panel.from_rows(np.zeros(260, np.int32), days, forward, forward, forward, forward, np.ones(260), unit=unit)
    told = found(MarketBreadth.over_sessions(panel, days[250]))
    assert [row["unchanged"] for row in told.values()] == [1.0] * 10
    assert sum(row["new_lows_252"] + row["above_sma_20"] for row in told.values()) == 0

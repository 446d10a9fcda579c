"""What a picture is drawn from equals the engine's rows of the bars that are shown."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quantmatrix_pipeline.chart.datasets import DRAWN, datasets
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.indicators import engine
from quantmatrix_pipeline.indicators.catalogue import COLUMN_INDEX, ENGINE_COLUMNS
from quantmatrix_pipeline.indicators.panel import PRICES
from quantmatrix_pipeline_tests.unit.chart.panels import in_last_shares, split_panel
from quantmatrix_pipeline_tests.unit.indicators.stretches import STRETCHES, real_bars, written


def test_the_bars_shown_are_the_engines_rows_in_the_shares_of_the_last_bar() -> None:
    panel, shown = split_panel(), 450
    adjusted = in_last_shares(panel)
    rows = datasets(panel, shown)["bars"]
    values = engine.compute(adjusted)[-shown:, :, 0]
    assert [row["bar"] for row in rows] == list(range(shown))
    assert [row["session"] for row in rows] == [str(day) for day in panel.session[-shown:, 0]]
    for name in (*PRICES, "volume"):
        np.testing.assert_allclose([row[name] for row in rows], getattr(adjusted, name)[-shown:, 0], rtol=1e-12)
    for name in DRAWN:
        column, expected = ENGINE_COLUMNS[COLUMN_INDEX[name]], values[:, COLUMN_INDEX[name]]
        found = [row[name] for row in rows]
        if column.kind == "float":
            drawn = np.array([math.nan if value is None else value for value in found])
            np.testing.assert_allclose(drawn, expected, rtol=1e-9, atol=1e-9, err_msg=name)
        else:
            codes = [None if math.isnan(value) else int(value) for value in expected]
            assert found == ([column.labels[c or 0] for c in codes] if column.kind == "label" else codes), name


def test_averages_begin_where_the_history_suffices_though_more_bars_are_asked_for() -> None:
    rows = datasets(split_panel(), 10_000)["bars"]
    assert len(rows) == 700
    assert rows[198]["sma_200"] is None
    assert rows[199]["sma_200"] is not None


def test_zones_and_lines_lie_where_the_bars_say() -> None:
    panel, shown = real_bars("AAPL"), 500
    data, first = datasets(panel, shown), panel.bars - shown
    assert data["gaps"]
    assert data["lines"]
    high, low = panel.high[:, 0], panel.low[:, 0]
    for gap in data["gaps"]:
        bar, edges = gap["begin"] + first, (gap["low"], gap["high"])
        since = slice(bar, None)
        if gap["side"] == "up":
            assert edges == (high[bar - 1], low[bar])
            assert (low[since] > gap["low"]).all()
        else:
            assert edges == (high[bar], low[bar - 1])
            assert (high[since] < gap["high"]).all()
        assert gap["end"] == shown - 1
    for line in data["lines"]:
        bar, price = line["begin"] + first, line["begin_price"]
        pivot = low if line["side"] == "up" else high
        assert price == pivot[bar]
        steps = np.arange(bar, panel.bars)
        course = price + (line["end_price"] - price) * (steps - bar) / (panel.bars - 1 - bar)
        on_it = np.isclose(pivot[bar:], course, rtol=1e-9)
        assert on_it.sum() >= 2  # both pivots


@pytest.mark.parametrize("symbol", STRETCHES)
def test_the_counts_written_at_the_bars_are_those_of_the_answer_files(symbol: str) -> None:
    answers = {row["session"]: row for row in written("td_sequential", symbol)}
    panel = real_bars(symbol)
    data = datasets(panel, panel.bars)
    day = {row["bar"]: row["session"] for row in data["bars"]}
    for side, edge in (("buy", "low"), ("sell", "high")):
        found = {
            kind: {day[m["bar"]]: m for m in data["marks"] if (m["side"], m["kind"]) == (side, kind)}
            for kind in ("setup", "complete", "countdown")
        }
        for session, row in answers.items():
            setup, complete = int(row[f"td_{side}_setup"]), row[f"td_{side}_complete"] == "1"
            if 0 < setup < 9:
                mark = found["setup"][session]
                assert (mark["text"], mark["price"]) == (row[f"td_{side}_setup"], data["bars"][mark["bar"]][edge])
            else:
                assert session not in found["setup"]
            if complete:
                assert found["complete"][session]["text"] == ("9*" if row[f"td_perfect_{side}"] == "1" else "9")
            assert (session in found["countdown"]) == (row[f"td_{side}_countdown"] == "13")


def test_a_late_perfection_is_a_star_of_its_own() -> None:
    panel = real_bars("AAPL")
    data = datasets(panel, panel.bars)
    late = [m for m in data["marks"] if m["text"] == "*"]
    assert late
    for mark in late:
        row, before = data["bars"][mark["bar"]], data["bars"][mark["bar"] - 1]
        assert (before[f"td_perfect_{mark['side']}"], row[f"td_perfect_{mark['side']}"]) == (0, 1)


def test_runs_of_a_stage_cover_each_bar_that_has_one() -> None:
    data = datasets(split_panel(), 600)
    labels = {bar: run["label"] for run in data["stages"] for bar in range(run["begin"], run["end"] + 1)}
    assert labels == {r["bar"]: r["stage_label"] for r in data["bars"] if r["stage_label"] not in (None, "UNKNOWN")}
    assert all(a["label"] != b["label"] for a, b in zip(data["stages"], data["stages"][1:], strict=False))


def test_splits_within_the_picture_are_marked() -> None:
    assert datasets(split_panel(), 450)["splits"] == [
        {"bar": 50, "text": "split 7:1"},
        {"bar": 360, "text": "split 1:2"},
    ]
    assert datasets(split_panel(), 90)["splits"] == []


def test_a_picture_is_of_one_instrument() -> None:
    panel = split_panel()
    with pytest.raises(QuantMatrixError, match="of one instrument, the panel has 2"):
        datasets(panel.select(np.array([0, 0])), 100)

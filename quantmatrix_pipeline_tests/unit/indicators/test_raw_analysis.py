"""The payload has the zones and lines that the row's columns count, at the last bar of any cut, where the bars say."""

from __future__ import annotations

import dataclasses
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.indicators import engine
from quantmatrix_pipeline.indicators.catalogue import COLUMN_INDEX
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline.indicators.raw_analysis import Payload, payloads
from quantmatrix_pipeline.indicators.stage_rules import StageRules
from quantmatrix_pipeline_tests.unit.indicators.panels import Floats, ragged_panels, real_panel
from quantmatrix_pipeline_tests.unit.indicators.stretches import STRETCHES, real_bars

COUNTED = {"gaps": "gaps_unfilled_{}", "trend_lines": "trend_{}_count"}


def counts_agree(panel: Panel, rows: Floats) -> None:
    """`rows` are the engine's of each instrument's last bar, shape (columns, n)."""
    for instrument, payload in enumerate(payloads(panel)):
        for name, column in COUNTED.items():
            for side in ("up", "down"):
                told = rows[COLUMN_INDEX[column.format(side)], instrument]
                listed = sum(item["side"] == side for item in payload[name])
                assert listed == np.nan_to_num(told), (column.format(side), instrument, panel.bars)


def last_values(panel: Panel, values: Floats) -> Floats:
    """The rows of the instruments' last bars out of those of all bars, shape (bars, columns, n)."""
    return values[panel.length - 1, :, np.arange(panel.width)].T


@settings(max_examples=60, deadline=None)
@given(ragged_panels(most_bars=250), st.data())
def test_drawn_panels_have_as_many_zones_and_lines_as_the_row_counts(panel: Panel, data: st.DataObject) -> None:
    values = engine.compute(panel)
    for bars in {panel.bars, *data.draw(st.lists(st.integers(1, panel.bars), max_size=4))}:
        cut = panel.cut(bars)
        counts_agree(cut, last_values(cut, values))


def test_real_bars_have_as_many_zones_and_lines_as_the_row_counts_week_after_week() -> None:
    panel = real_panel(40, missing=0.01)
    values = engine.compute(panel)
    for bars in range(1, panel.bars + 1, 29):
        cut = panel.cut(bars)
        counts_agree(cut, last_values(cut, values))


@pytest.mark.parametrize("symbol", STRETCHES)
def test_decades_of_one_symbol_have_as_many_zones_and_lines_as_the_row_counts(symbol: str) -> None:
    panel = real_bars(symbol)
    values = engine.compute(panel)
    for bars in range(41, panel.bars + 1, 97):
        cut = panel.cut(bars)
        counts_agree(cut, last_values(cut, values))


def place(panel: Panel, session: str) -> int:
    return int(np.flatnonzero(panel.session[:, 0] == np.datetime64(session))[0])


def of_one(panel: Panel) -> Payload:
    (payload,) = payloads(panel)
    return payload


def test_zones_and_lines_lie_where_the_bars_say() -> None:
    panel = real_bars("AAPL")
    payload = of_one(panel)
    high, low, last = panel.high[:, 0], panel.low[:, 0], panel.bars - 1
    assert payload["gaps"]
    assert payload["trend_lines"]
    for gap in payload["gaps"]:
        bar = place(panel, gap["session"])
        edges = (high[bar - 1], low[bar]) if gap["side"] == "up" else (high[bar], low[bar - 1])
        assert (gap["low"], gap["high"]) == edges
        before = edges[0] if gap["side"] == "up" else edges[1]
        assert gap["percent"] == pytest.approx(100 * (edges[1] - edges[0]) / before)
        assert gap["percent"] >= 0.5
    for line in payload["trend_lines"]:
        price = low if line["side"] == "up" else high
        bars = [place(panel, pivot["session"]) for pivot in line["pivots"]]
        assert [pivot["price"] for pivot in line["pivots"]] == [price[bar] for bar in bars]
        assert line["slope"] == pytest.approx((price[bars[1]] - price[bars[0]]) / (bars[1] - bars[0]))
        assert (line["slope"] > 0) == (line["side"] == "up")
        assert line["price"] == pytest.approx(price[bars[1]] + line["slope"] * (last - bars[1]))


def test_prices_are_told_in_the_shares_of_the_last_bar() -> None:
    panel = real_bars("MSFT")
    unit = np.where(panel.session < np.datetime64("2010-01-04"), 1.0, 4.0)
    split = dataclasses.replace(panel, unit=unit)  # the same forward prices, of which a share is now a fourth
    for plain, now in zip(_numbers(of_one(panel)), _numbers(of_one(split)), strict=True):
        assert now == pytest.approx(plain / 4, rel=1e-12)
    assert of_one(split)["bar"]["volume"] == of_one(panel)["bar"]["volume"] * 4
    assert [g["percent"] for g in of_one(split)["gaps"]] == [g["percent"] for g in of_one(panel)["gaps"]]


def _numbers(payload: Payload) -> list[float]:
    prices = [payload["bar"][name] for name in ("open", "high", "low", "close")]
    prices += [edge for gap in payload["gaps"] for edge in (gap["low"], gap["high"])]
    for line in payload["trend_lines"]:
        prices += [line["price"], line["slope"], *(pivot["price"] for pivot in line["pivots"])]
    return prices


def test_a_first_bar_has_a_payload_of_its_own() -> None:
    day, price = np.array(["2021-12-31"], "datetime64[D]"), np.array([10.0])
    panel = Panel.from_rows(np.zeros(1, np.int32), day, price, price + 1, price - 1, price, np.array([500.0]))
    assert of_one(dataclasses.replace(panel, stage_rules=StageRules(0.1, 4.0, 12.0))) == {
        "bar": {"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.0, "volume": 500.0},
        "bars": 1,
        "first_session": date(2021, 12, 31).isoformat(),
        "gaps": [],
        "trend_lines": [],
        "stage_rules": {"version": 1, "flat_pct": 0.1, "near_pct": 4.0, "far_pct": 12.0},
    }

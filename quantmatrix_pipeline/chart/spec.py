"""The picture as a Vega-Lite spec: panes over one another that share the axis of the bars."""

from __future__ import annotations

from datetime import date
from typing import Any

from quantmatrix_pipeline.chart import panes
from quantmatrix_pipeline.chart.axis import BarAxis
from quantmatrix_pipeline.chart.datasets import Records
from quantmatrix_pipeline.chart.interactive import interactive
from quantmatrix_pipeline.chart.marks import price_format
from quantmatrix_pipeline.chart.price_pane import prices
from quantmatrix_pipeline.chart.style import CONFIG

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.4.0.json"  # the version's name, not a place that is asked


def of_instrument(
    data: dict[str, Records], symbol: str, name: str | None, currency: str, *, page: bool = False
) -> dict[str, Any]:
    """Return the spec of the picture of `datasets.datasets`, or of the page, under a heading.

    It carries its data and asks nobody for anything. The heading says whose it is, up to when, and what its last bar
    says.
    """
    last = data["bars"][-1]
    written = price_format(last["close"])
    axis = BarAxis.of([date.fromisoformat(row["session"]) for row in data["bars"]])
    title = f"{symbol}  {name}" if name else symbol
    picture = {
        "$schema": SCHEMA,
        "title": {"text": f"{title}  ·  {last['session']}", "subtitle": "   ·   ".join(_facts(data, currency))},
        "datasets": data,
        "vconcat": [
            prices(axis, written, data["bars"]),
            panes.stage(axis),
            panes.volume(axis),
            panes.rsi(axis),
            panes.macd(axis.with_labels(), written),
        ],
        "spacing": 8,
        "resolve": {"scale": {"x": "shared"}},
        "config": CONFIG,
    }
    return interactive(picture, axis, written) if page else picture


def _facts(data: dict[str, Records], currency: str) -> list[str]:
    last = data["bars"][-1]
    facts = [f"close {last['close']:{price_format(last['close'])}} {currency}, split-adjusted"]
    if last["rsi"] is not None:
        facts.append(f"RSI {last['rsi']:.1f}")
    if data["stages"] and data["stages"][-1]["end"] == last["bar"]:
        facts.append(f"weekly stage {last['stage_label']}")
    for what, sided in (("open gaps", "gaps_unfilled_{}"), ("trend lines", "trend_{}_count")):
        up, down = (last[sided.format(side)] for side in ("up", "down"))
        if up is not None:
            facts.append(f"{what} {up} up, {down} down")
    return facts

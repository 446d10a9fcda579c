"""What a page has over a picture: values of the bar under the pointer, zooming and moving along the bars."""

from __future__ import annotations

from collections.abc import Mapping

from quantmatrix_pipeline.chart.axis import BarAxis
from quantmatrix_pipeline.chart.marks import Spec, layer
from quantmatrix_pipeline.chart.style import AVERAGES, MUTED


def interactive(spec: Spec, axis: BarAxis, price_format: str) -> Spec:
    """Return a picture's spec as that of a page: in every pane one pointer field, tied to the others' axis."""
    panes = [
        {**pane, "layer": [*map(_clipped, pane["layer"]), *_hover(f"hover_{place}", axis, price_format)]}
        for place, pane in enumerate(spec["vconcat"])
    ]
    fields = [pane["layer"][-1]["name"] for pane in panes]
    over = {"type": "point", "fields": ["bar"], "on": "pointerover", "clear": "pointerout"}
    along = {"type": "interval", "encodings": ["x"]}
    params = [
        {"name": "hover", "select": over, "views": fields},
        {"name": "zoom", "select": along, "bind": "scales", "views": fields},
    ]
    return {**spec, "params": params, "vconcat": panes}


def _clipped(drawn: Spec) -> Spec:
    """Whoever zooms moves bars out of the pane. A still picture has fewer clips: each costs a tenth of a second."""
    return {**drawn, "mark": {"clip": True, **drawn["mark"]}}


def _hover(name: str, axis: BarAxis, price_format: str) -> list[Spec]:
    """Return a hair line at the bar under the pointer, and the invisible field that knows the bar's values."""
    shown = {"condition": {"param": "hover", "empty": False, "value": 0.7}, "value": 0}
    hair = layer("bars", {"type": "rule", "color": MUTED}, {"x": axis.x(), "opacity": shown})
    field = layer(
        "bars",
        {"type": "rect", "opacity": 0},
        {"x": axis.x("left"), "x2": {"field": "right"}, "tooltip": _tooltip(price_format)},
        [{"calculate": "datum.bar - 0.5", "as": "left"}, {"calculate": "datum.bar + 0.5", "as": "right"}],
    )
    return [hair, {"name": name, **field}]


def _tooltip(price_format: str) -> list[Spec]:
    def values(names: Mapping[str, str], written: str | None = None) -> list[Spec]:
        told = {} if written is None else {"format": written}
        return [{"field": field, "title": title, "type": "nominal", **told} for field, title in names.items()]

    prices = {name: name for name in ("open", "high", "low", "close")}
    prices |= {field: average.name for field, average in AVERAGES.items()}
    counts = {f"td_{side}_{what}": f"TD {side} {what}" for side in ("buy", "sell") for what in ("setup", "countdown")}
    counts |= {"gaps_unfilled_up": "open gaps up", "gaps_unfilled_down": "open gaps down"}
    counts |= {"trend_up_count": "trend lines up", "trend_down_count": "trend lines down"}
    macd = {"macd": "MACD", "macd_signal": "its signal", "macd_histogram": "difference"}
    found = [
        *values({"session": "session"}),
        *values(prices, price_format),
        *values({"volume": "volume", "volume_avg_50d": "average of 50"}, ",.0f"),
        *values({"rsi": "RSI 14"}, ".1f"),
        *values(macd, price_format.replace(".2f", ".3f")),
        *values(counts),
        *values({"stage_label": "weekly stage"}),
    ]
    return [channel | ({"type": "quantitative"} if "format" in channel else {}) for channel in found]

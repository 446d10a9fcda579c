"""The pane of prices: candles, averages, open gaps, trend lines, the counts of TD Sequential, splits."""

from __future__ import annotations

from quantmatrix_pipeline.chart.axis import BarAxis
from quantmatrix_pipeline.chart.datasets import Records
from quantmatrix_pipeline.chart.marks import RISES, Spec, bars_from, captions, either, layer, line, pane
from quantmatrix_pipeline.chart.style import AVERAGES, FALLING, INK, MUTED, PRICE_HEIGHT, RISING

DIGIT_WIDTH = 3.9  # pixels that a setup's number needs; where bars stand closer, only 9 and 13 are written
ROOM = 0.11  # of the prices' range, above and below, for the counts


def prices(axis: BarAxis, price_format: str, bars: Records) -> Spec:
    """Return the pane for these bars; what lies beyond their prices and averages is cut off."""
    scale = {"domain": price_range(bars), "zero": False, "nice": False}
    y = {"type": "quantitative", "scale": scale, "axis": {"title": None, "format": price_format, "tickCount": 9}}
    layers = [
        _gaps(axis, y),
        *_splits(axis),
        *_candles(axis, y),
        *(line(axis, y, field, a.colour, strokeDash=a.dash) for field, a in AVERAGES.items()),
        _trend_lines(axis, y),
        *_td_counts(axis, y),
    ]
    named = captions(
        *((average.name, average.colour, "— —" if average.dash[1] else "—") for average in AVERAGES.values()),
        ("open gap", RISING, "▒"),
        ("trend line", RISING, "/"),
        ("TD setup, 9* perfected", RISING, "1-9"),
        ("13 of a TD countdown", RISING, "●"),
    )
    return pane(PRICE_HEIGHT, layers, named)


def price_range(bars: Records) -> list[float]:
    """Return the lowest and the highest price that are shown, with some room beyond both."""
    found = [row[name] for row in bars for name in ("low", "high", *AVERAGES) if row[name] is not None]
    room = ROOM * (max(found) - min(found)) or ROOM * max(found)
    return [min(found) - room, max(found) + room]


def _side() -> Spec:
    return either("datum.side == 'up'", RISING, FALLING)


def _gaps(axis: BarAxis, y: Spec) -> Spec:
    zone = {"x": axis.x("begin"), "x2": {"field": "end"}, "y": {**y, "field": "low"}, "y2": {"field": "high"}}
    return layer("gaps", {"type": "rect", "opacity": 0.18, "clip": True}, {**zone, "color": _side()})


def _trend_lines(axis: BarAxis, y: Spec) -> Spec:
    ends = {"x": axis.x("begin"), "x2": {"field": "end"}}
    ends |= {"y": {**y, "field": "begin_price"}, "y2": {"field": "end_price"}}
    return layer("lines", {"type": "rule", "strokeWidth": 1.6, "clip": True}, {**ends, "color": _side()})


def _splits(axis: BarAxis) -> list[Spec]:
    before = [{"calculate": "datum.bar - 0.5", "as": "eve"}]  # between the last bar in old shares and the first in new
    text = {"type": "text", "align": "left", "baseline": "top", "dx": 4, "color": INK}
    at = {"x": axis.x("eve")}
    return [
        layer("splits", {"type": "rule", "strokeDash": [3, 3], "color": MUTED}, at, before),
        layer("splits", text, {**at, "y": {"value": 4}, "text": {"field": "text"}}, before),
    ]


def _candles(axis: BarAxis, y: Spec) -> list[Spec]:
    colour = either(RISES, RISING, FALLING)
    reach = {"x": axis.x(), "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour}
    edge = {"stroke": colour, "strokeWidth": {"value": 1}, "fill": either(RISES, "white", FALLING)}
    return [
        layer("bars", {"type": "rule", "strokeWidth": 1}, reach),
        bars_from(axis, y, {"field": "open"}, {"field": "close"}, edge),
    ]


def _td_counts(axis: BarAxis, y: Spec) -> list[Spec]:
    """Return the counts: those of buy setups below their bars, those of sell setups above."""
    layers = []
    for side, away, colour in (("buy", 1, RISING), ("sell", -1, FALLING)):
        own = {"x": axis.x(), "y": {**y, "field": "price"}}
        of = f"datum.side == '{side}' && datum.kind"
        small = {"type": "text", "fontSize": min(max(7, axis.step), 10), "color": colour, "dy": 7 * away}
        large = {"type": "text", "fontSize": 12, "fontWeight": "bold", "color": colour, "dy": 12 * away}
        disc = {"type": "point", "filled": True, "size": 260, "opacity": 1, "color": colour, "yOffset": 28 * away}
        inside = {"type": "text", "fontSize": 10, "fontWeight": "bold", "color": "white", "dy": 28 * away}
        number = {**own, "text": {"field": "text"}}
        if axis.step >= DIGIT_WIDTH:
            layers.append(layer("marks", small, number, [{"filter": f"{of} == 'setup'"}]))
        layers += [
            layer("marks", large, number, [{"filter": f"{of} == 'complete'"}]),
            layer("marks", disc, own, [{"filter": f"{of} == 'countdown'"}]),
            layer("marks", inside, number, [{"filter": f"{of} == 'countdown'"}]),
        ]
    return layers

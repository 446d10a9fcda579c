"""The pieces that every pane is put together from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from quantmatrix_pipeline.chart.axis import BarAxis
from quantmatrix_pipeline.chart.style import CAPTION, INK, MUTED, WIDTH

Spec = dict[str, Any]

RISES = "datum.close >= datum.open"


def layer(
    source: str, mark: Mapping[str, Any], encoding: Mapping[str, Any], transform: Sequence[Mapping[str, Any]] = ()
) -> Spec:
    """Return a layer that draws a data set."""
    return {
        "data": {"name": source},
        "transform": list(transform),
        "mark": dict(mark),
        "encoding": dict(encoding),
    }


def line(axis: BarAxis, y: Spec, field: str, colour: str, **mark: Any) -> Spec:
    """Return one column of the bars as a line, from the first bar on that has it."""
    return layer(
        "bars",
        {"type": "line", "color": colour, "strokeWidth": 1.4, **mark},
        {"x": axis.x(), "y": {**y, "field": field}},
        [{"filter": f"isValid(datum.{field})"}],
    )


def bars_from(axis: BarAxis, y: Spec, begin: Spec, end: Spec, colour: Spec, width: float = 0.7) -> Spec:
    """Return bodies as wide as `width` of the distance of two bars, so that they grow when somebody zooms in."""
    sides = [
        {"calculate": f"datum.bar - {width / 2}", "as": "left"},
        {"calculate": f"datum.bar + {width / 2}", "as": "right"},
    ]
    channels = {"x": axis.x("left"), "x2": {"field": "right"}, "y": {**y, **begin}, "y2": end}
    return layer("bars", {"type": "rect"}, {**channels, **colour}, sides)


def either(condition: str, then: str, otherwise: str) -> Spec:
    """Return a colour channel's value: one of two."""
    return {"condition": {"test": condition, "value": then}, "value": otherwise}


def level(y: Spec, at: float) -> Spec:
    """Return a horizontal rule across the pane."""
    return {
        "data": {"values": [{"at": at}]},
        "mark": {"type": "rule", "color": MUTED, "strokeDash": [3, 3], "strokeWidth": 0.8},
        "encoding": {"y": {**y, "field": "at"}},
    }


def pane(height: int, layers: list[Spec], caption: list[Spec]) -> Spec:
    """Return a pane and the row of texts above it."""
    return {"width": WIDTH, "height": height, "layer": [*layers, *caption]}


def captions(*parts: tuple[str, str | None, str]) -> list[Spec]:
    """Return texts in a row above a pane, each (text, colour, sign): the coloured sign before it says what bears it."""
    at, found = 0.0, []
    for text, colour, sign in parts:
        if colour is not None:
            found.append(_written(sign, at, colour, bold=True))
            at += CAPTION * (1.5 if len(sign) == 1 else 2.8)
        found.append(_written(text, at, INK))
        at += CAPTION * (0.53 * len(text) + 1.6)
    return found


def _written(text: str, at: float, colour: str, *, bold: bool = False) -> Spec:
    mark = {"type": "text", "text": text, "align": "left", "baseline": "bottom", "color": colour, "fontSize": CAPTION}
    return {
        "data": {"values": [{}]},
        "mark": {**mark, "fontWeight": "bold" if bold else "normal", "clip": False},
        "encoding": {"x": {"value": at}, "y": {"value": -4}},
    }


def price_format(price: float) -> str:
    """Return the d3 format of prices about as high as this one: cents, and more digits below one unit."""
    decimals = 2 if price >= 1 else 3 - math.floor(math.log10(price))
    return f",.{decimals}f"

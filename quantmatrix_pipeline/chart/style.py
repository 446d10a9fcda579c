"""Colours, sizes and fonts: one place, so that a picture is of one piece.

The colours are those of Okabe and Ito's palette for colour-blind readers and shades of them; what two of them tell
apart differs in lightness or is written beside as well.
"""

from __future__ import annotations

from typing import Any, NamedTuple

WIDTH = 1180
PRICE_HEIGHT, BAND_HEIGHT, SMALL_HEIGHT = 420, 16, 96

RISING, FALLING = "#2b83ba", "#b2452b"
SIGNAL = "#e69f00"
INK, MUTED, GRID = "#1a1a1a", "#5c5c5c", "#e9e9e9"

CAPTION = 11  # font size


class Average(NamedTuple):
    """How an average is drawn; `dash` is pixels of stroke and of gap."""

    name: str
    colour: str
    dash: list[int]


AVERAGES = {
    "ema_21": Average("EMA 21", "#e69f00", [1, 0]),
    "sma_50": Average("SMA 50", "#009e73", [1, 0]),
    "sma_200": Average("SMA 200", "#7b4fa3", [1, 0]),
    "sma_30w": Average("30-week average", "#1a1a1a", [5, 3]),
}
"""Column -> the average."""

STAGES = {
    "1": "#d9d9d9",
    "2A": "#c6dff0",
    "2B": "#8cbfe0",
    "2C": "#5aa2d0",
    "3": "#f6dd9b",
    "4": "#e3a58f",
}
"""Weekly stage -> its colour in the band; all are light enough for dark text."""

CONFIG: dict[str, Any] = {
    "background": "white",
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",
    "view": {"stroke": "#cfcfcf"},
    "axis": {
        "labelColor": INK,
        "labelFontSize": 11,
        "gridColor": GRID,
        "domain": False,
        "tickColor": "#cfcfcf",
        "tickSize": 4,
    },
    "axisY": {"orient": "right", "minExtent": 52, "maxExtent": 52, "titleColor": INK},
    "legend": {"labelColor": INK, "labelFontSize": 11, "symbolStrokeWidth": 2, "symbolSize": 260},
    "title": {
        "anchor": "start",
        "color": INK,
        "fontSize": 18,
        "subtitleColor": MUTED,
        "subtitleFontSize": 12,
        "subtitlePadding": 5,
        "offset": 10,
    },
    "text": {"color": INK, "fontSize": 11},
}

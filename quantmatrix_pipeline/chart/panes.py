"""The panes below the prices: weekly stage, volume, RSI, MACD."""

from __future__ import annotations

from quantmatrix_pipeline.chart.axis import BarAxis
from quantmatrix_pipeline.chart.marks import RISES, Spec, bars_from, captions, either, layer, level, line, pane
from quantmatrix_pipeline.chart.style import BAND_HEIGHT, FALLING, INK, RISING, SIGNAL, SMALL_HEIGHT, STAGES

LABELLED_RUN = 24.0  # pixels that a stage's label needs

_NUMBER = {"type": "quantitative"}


def stage(axis: BarAxis) -> Spec:
    """Return the band of the weekly stages."""
    edges = [
        {"calculate": "datum.begin - 0.5", "as": "left"},
        {"calculate": "datum.end + 0.5", "as": "right"},
        {"calculate": "(datum.begin + datum.end) / 2", "as": "middle"},
    ]
    wide = {"filter": f"(datum.end - datum.begin + 1) * {axis.step:.3f} >= {LABELLED_RUN}"}
    colours = {"domain": list(STAGES), "range": list(STAGES.values())}
    shade = {"field": "label", "type": "nominal", "legend": None, "scale": colours}
    band = layer("stages", {"type": "rect"}, {"x": axis.x("left"), "x2": {"field": "right"}, "color": shade}, edges)
    label = layer(
        "stages",
        {"type": "text", "baseline": "middle", "color": INK},
        {"x": axis.x("middle"), "text": {"field": "label"}},
        [*edges, wide],
    )
    named = captions(("weekly stage", None, ""), *((stage, colour, "■") for stage, colour in STAGES.items()))
    return pane(BAND_HEIGHT, [band, label], named)


def volume(axis: BarAxis) -> Spec:
    """Return shares traded, and their average."""
    written = "replace(format(datum.value, '~s'), 'G', 'B')"
    y = {**_NUMBER, "axis": {"title": None, "tickCount": 3, "labelExpr": written}}
    colour = {"color": either(RISES, RISING, FALLING), "opacity": {"value": 0.65}}
    bodies = bars_from(axis, y, {"field": "volume"}, {"datum": 0}, colour)
    average = line(axis, y, "volume_avg_50d", INK)
    named = captions(("volume", None, ""), ("average of 50", INK, "—"))
    return pane(SMALL_HEIGHT, [bodies, average], named)


def rsi(axis: BarAxis) -> Spec:
    """Return the relative strength index between 0 and 100, with its usual thresholds."""
    scale = {"domain": [0, 100], "nice": False}
    y = {**_NUMBER, "scale": scale, "axis": {"title": None, "values": [30, 50, 70]}}
    layers = [level(y, 30), level(y, 70), line(axis, y, "rsi", INK)]
    return pane(SMALL_HEIGHT, layers, captions(("RSI 14", None, "")))


def macd(axis: BarAxis, price_format: str) -> Spec:
    """Return MACD, its signal, and their difference as bars."""
    y = {**_NUMBER, "axis": {"title": None, "tickCount": 4, "format": price_format}}
    colour = {"color": either("datum.macd_histogram >= 0", RISING, FALLING), "opacity": {"value": 0.5}}
    bodies = bars_from(axis, y, {"field": "macd_histogram"}, {"datum": 0}, colour)
    layers = [bodies, line(axis, y, "macd", INK), line(axis, y, "macd_signal", SIGNAL)]
    named = captions(("MACD 12 26", INK, "—"), ("signal 9", SIGNAL, "—"), ("difference", RISING, "▮"))
    return pane(SMALL_HEIGHT, layers, named)

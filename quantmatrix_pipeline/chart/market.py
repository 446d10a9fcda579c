"""The market at a session as a picture: shares of stocks above their averages, and who moved most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from quantmatrix_pipeline.chart.spec import SCHEMA
from quantmatrix_pipeline.chart.style import AVERAGES, CONFIG, FALLING, MUTED, RISING

WIDTH, HEIGHT, ROW = 760, 200, 18
SHARES = {"pct_above_sma_50": "sma_50", "pct_above_sma_200": "sma_200"}
"""Column of the breadth -> the average whose colour its line has."""


def picture(
    session: date, breadth: Sequence[Mapping[str, object]], movers: Sequence[Mapping[str, object]]
) -> dict[str, Any]:
    """Return the spec of the picture; it carries its data and asks nobody for anything.

    Parameters
    ----------
    breadth
        `session` as text and the columns of `SHARES`, the oldest first.
    movers
        `symbol` and `move` in percent, from the greatest rise to the greatest fall.
    """
    lines = [
        {"session": row["session"], "average": AVERAGES[average].name, "share": row[column]}
        for row in breadth
        for column, average in SHARES.items()
        if row[column] is not None
    ]
    return {
        "$schema": SCHEMA,
        "title": {
            "text": f"The market · {session}",
            "subtitle": "share of stocks above their averages; greatest moves",
        },
        "datasets": {"lines": lines, "movers": list(movers)},
        "vconcat": [*([_shares()] if lines else []), *([_moves(len(movers))] if movers else [])],
        "spacing": 16,
        "config": CONFIG,
    }


def _shares() -> dict[str, Any]:
    averages = [AVERAGES[average] for average in SHARES.values()]
    colours = {"domain": [a.name for a in averages], "range": [a.colour for a in averages]}
    in_percent = {"title": None, "labelExpr": "datum.label + ' %'"}
    above = {"title": None, "orient": "top"}
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "data": {"name": "lines"},
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {
            "x": {"field": "session", "type": "temporal", "axis": {"title": None, "format": "%b %d"}},
            "y": {"field": "share", "type": "quantitative", "scale": {"domain": [0, 100]}, "axis": in_percent},
            "color": {"field": "average", "type": "nominal", "scale": colours, "legend": above},
        },
    }


def _moves(count: int) -> dict[str, Any]:
    signed = {"condition": {"test": "datum.move >= 0", "value": RISING}, "value": FALLING}
    place = {"field": "symbol", "type": "nominal", "sort": None, "axis": {"title": None, "orient": "left"}}
    move = {"field": "move", "type": "quantitative", "axis": {"title": "change in %", "titleColor": MUTED}}
    return {
        "width": WIDTH,
        "height": ROW * count,
        "data": {"name": "movers"},
        "mark": {"type": "bar"},
        "encoding": {"y": place, "x": move, "color": signed},
    }

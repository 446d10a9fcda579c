"""What a picture is drawn from: the engine's rows of the last bars of one instrument, as plain records."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from quantmatrix_pipeline.chart.style import AVERAGES
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.indicators import engine
from quantmatrix_pipeline.indicators.catalogue import COLUMN_INDEX, ENGINE_COLUMNS, Column
from quantmatrix_pipeline.indicators.levels import open_gaps, trend_lines
from quantmatrix_pipeline.indicators.panel import PRICES, Floats, Panel

DRAWN = (
    *AVERAGES,
    "volume_avg_50d",
    "rsi",
    "macd",
    "macd_signal",
    "macd_histogram",
    *(f"td_{side}_{what}" for side in ("buy", "sell") for what in ("setup", "complete", "countdown")),
    "td_perfect_buy",
    "td_perfect_sell",
    "gaps_unfilled_up",
    "gaps_unfilled_down",
    "trend_up_count",
    "trend_down_count",
    "stage_label",
)

Records = list[dict[str, Any]]


def datasets(panel: Panel, bars: int) -> dict[str, Records]:
    """Return what is drawn of the last `bars` bars, or of all where there are fewer.

    Prices and volumes are split-adjusted, in the shares of the last bar. `bar` counts from 0 at the first bar that is
    shown; what began before has a negative one.

    Parameters
    ----------
    panel
        Of one instrument, with all its bars: recursions begin at the first.
    bars
        At least 1.

    Returns
    -------
    dict
        - `bars`: bar, session, open, high, low, close, volume and `DRAWN`; None where there is too little history.
        - `marks`: the counts of TD Sequential: bar, price, side (buy, sell), kind (setup, complete, countdown), text.
        - `gaps`: the zones that are open at the last bar: side (up, down), begin and end bar, low, high.
        - `lines`: the trend lines that hold at the last bar: side, begin and end bar, begin and end price.
        - `stages`: runs of one weekly stage: label, begin and end bar, the end inclusive.
        - `splits`: bar (the first in new shares) and text.

    Raises
    ------
    QuantMatrixError
        The panel is not of one instrument.
    """
    if panel.width != 1:
        raise QuantMatrixError(f"chart: a picture is of one instrument, the panel has {panel.width}; select one")
    first = max(panel.bars - bars, 0)
    values = engine.compute(panel)[:, :, 0]
    shown = _records(panel, values, first)
    return {
        "bars": shown,
        "marks": [mark for side in ("buy", "sell") for mark in _marks(shown, side)],
        "gaps": _gaps(panel, first),
        "lines": _lines(panel, first),
        "stages": _runs(shown),
        "splits": _splits(panel.unit[:, 0], first),
    }


def _records(panel: Panel, values: Floats, first: int) -> Records:
    unit = panel.unit[-1, 0]
    newer = panel.unit[first:, 0] / unit  # the engine tells levels in the shares of their own session
    columns: dict[str, list[Any]] = {
        "bar": list(range(panel.bars - first)),
        "session": [day.isoformat() for day in panel.session[first:, 0].tolist()],
        **{name: (getattr(panel, name)[first:, 0] / unit).tolist() for name in PRICES},
        "volume": (panel.volume[first:, 0] * unit).tolist(),
    }
    for name in DRAWN:
        place = COLUMN_INDEX[name]
        columns[name] = _plain(values[first:, place], ENGINE_COLUMNS[place], newer)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(values: Floats, column: Column, newer: Floats) -> list[Any]:
    """Return an engine's column in the shares of the last bar, None for NaN, whole numbers and labels as such.

    `newer` are shares of the bar that one share of the last bar is worth.
    """
    if column.level:
        values = values * newer
    elif column.shares:
        values = values / newer
    found = [None if np.isnan(value) else value for value in values.tolist()]
    if column.kind == "label":
        return [None if value is None else column.labels[int(value)] for value in found]
    return found if column.kind == "float" else [None if value is None else int(value) for value in found]


def _marks(shown: Records, side: str) -> Records:
    """Return the numbers of a setup up to 9, a star on the bar that perfects it, and each 13 of a countdown."""
    marks: Records = []
    outermost, name = (min, "low") if side == "buy" else (max, "high")

    def mark(bar: int, kind: str, text: str, clear_of: int = 0) -> None:
        around = shown[max(bar - clear_of, 0) : bar + clear_of + 1]
        price = outermost(row[name] for row in around)
        marks.append({"bar": bar, "price": price, "side": side, "kind": kind, "text": text})

    perfect_before = None
    for bar, row in enumerate(shown):
        setup, perfect = row[f"td_{side}_setup"], row[f"td_perfect_{side}"]
        star = "*" if perfect and perfect_before != 1 else ""
        if row[f"td_{side}_complete"]:
            mark(bar, "complete", f"9{star}")
        elif star and bar > 0:
            mark(bar, "complete", star)
        elif setup and setup < 9:
            mark(bar, "setup", str(setup))
        if row[f"td_{side}_countdown"] == 13:
            mark(bar, "countdown", "13", clear_of=3)
        perfect_before = perfect
    return marks


def _gaps(panel: Panel, first: int) -> Records:
    unit, end = float(panel.unit[-1, 0]), panel.bars - 1 - first
    return [
        {"side": gap.side, "begin": gap.bar - first, "end": end, "low": gap.low / unit, "high": gap.high / unit}
        for gap in open_gaps(panel)[0]
    ]


def _lines(panel: Panel, first: int) -> Records:
    unit, last = float(panel.unit[-1, 0]), panel.bars - 1
    return [
        {"side": line.side, "begin": line.older[0] - first, "end": last - first}
        | {"begin_price": line.older[1] / unit, "end_price": line.at(last) / unit}
        for line in trend_lines(panel)[0]
    ]


def _runs(shown: Records) -> Records:
    runs: Records = []
    for row in shown:
        if runs and runs[-1]["label"] == row["stage_label"]:
            runs[-1]["end"] = row["bar"]
        else:
            runs.append({"label": row["stage_label"], "begin": row["bar"], "end": row["bar"]})
    return [run for run in runs if run["label"] not in (None, "UNKNOWN")]


def _splits(unit: Floats, first: int) -> Records:
    splits: Records = []
    for bar in np.flatnonzero(unit[1:] != unit[:-1]) + 1:
        if bar > first:
            ratio = Fraction(unit[bar] / unit[bar - 1]).limit_denominator(1000)
            splits.append({"bar": int(bar) - first, "text": f"split {ratio.numerator}:{ratio.denominator}"})
    return splits

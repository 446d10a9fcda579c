"""What of an instrument's analysis does not fit in columns: its zones, its lines, its bar, the thresholds in force."""

from __future__ import annotations

from typing import Any

from quantmatrix_pipeline.indicators.levels import Gap, TrendLine, open_gaps, trend_lines
from quantmatrix_pipeline.indicators.panel import PRICES, Panel
from quantmatrix_pipeline.indicators.stage_rules import RULES_VERSION, StageRules

Payload = dict[str, Any]


def payloads(panel: Panel) -> list[Payload]:
    """Return, per instrument, the payload of its last bar, from bars up to that one alone.

    Prices, slopes and the volume are told in the shares of that bar's session, as the columns of its row are; sessions
    are ISO dates.

    Returns
    -------
    list of dict
        - `bar`: open, high, low, close, volume of the bar.
        - `bars`, `first_session`: how many bars it follows from, and since when.
        - `gaps`: the open ones, as many as `gaps_unfilled_up` and `gaps_unfilled_down` say, oldest first: side (up,
          down), session of the bar behind the gap, low and high edge, percent (the width, as a percentage of the edge
          at which price stood before).
        - `trend_lines`: those that hold, as many as `trend_up_count` and `trend_down_count` say: side (up: under lows),
          pivots (the older and the newer: session, price), price of the line at this bar, slope per bar.
        - `stage_rules`: version and thresholds, in percent, by which `stage_label` was told.
    """
    each = zip(open_gaps(panel), trend_lines(panel), strict=True)
    return [_payload(panel, instrument, gaps, lines) for instrument, (gaps, lines) in enumerate(each)]


def _payload(panel: Panel, instrument: int, gaps: list[Gap], lines: list[TrendLine]) -> Payload:
    last = int(panel.length[instrument]) - 1
    unit = float(panel.unit[last, instrument])

    def day(bar: int) -> str:
        return str(panel.session[bar, instrument])

    return {
        "bar": {name: float(getattr(panel, name)[last, instrument]) / unit for name in PRICES}
        | {"volume": float(panel.volume[last, instrument]) * unit},
        "bars": last + 1,
        "first_session": day(0),
        "gaps": [
            {"side": gap.side, "session": day(gap.bar)}
            | {"low": gap.low / unit, "high": gap.high / unit, "percent": gap.percent}
            for gap in gaps
        ],
        "trend_lines": [
            {
                "side": line.side,
                "pivots": [{"session": day(bar), "price": price / unit} for bar, price in (line.older, line.newer)],
                "price": line.at(last) / unit,
                "slope": line.slope / unit,
            }
            for line in lines
        ],
        "stage_rules": _rules(panel.stage_rules),
    }


def _rules(rules: StageRules) -> Payload:
    return {"version": RULES_VERSION, "flat_pct": rules.flat, "near_pct": rules.near, "far_pct": rules.far}

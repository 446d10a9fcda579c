"""The weekly stage of a trend after Weinstein: the 30-week average, its slope, and a label that remembers."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.averages import TOLERANCE
from quantmatrix_pipeline.indicators.catalogue import STAGE_LABELS
from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Bools, Floats
from quantmatrix_pipeline.indicators.performance import percent_change
from quantmatrix_pipeline.indicators.stage_rules import RULES_VERSION, StageRules
from quantmatrix_pipeline.indicators.tile import Tile
from quantmatrix_pipeline.indicators.weeks import CompletedWeeks

WEEKS = 30  # of the average
SLOPE_WEEKS = 5  # over which its slope is told
BARS_AGO = 5  # of stage_label_5d_ago

_COMPLETED = WEEKS + SLOPE_WEEKS - 1  # weeks before the one to date, from which on everything is known
_CODES = np.array([float(STAGE_LABELS.index(name)) for name in ("UNKNOWN", "1", "2A", "3", "4")])
_ADVANCE, _DECLINE = 2.0, 4.0


class WeeklyStage(Family):
    """stage_label and what it follows from, on weekly closes whose last is the bar's own: the week to date.

    M is the mean of the last 30 weekly closes. Where M has changed over one completed week by more than `flat` % and
    the close lies on the same side of it, the stage is 2 (A, B, C by the distance) or 4. Elsewhere it is what follows
    the last completed week that was 2 or 4: 3 after 2, 1 after 4; before there was one, 1 near the average, else 3. A
    label is therefore the one that weekly bars would get if the bar's session were the last one known.

    The stages are those of Stan Weinstein, Secrets for Profiting in Bull and Bear Markets (1988), described again in
    Weinstein Stage Analysis: The Four-Stage Trend Filter (trendsandbreakouts.com); the numbers that tell them apart
    are this project's, and stand in every row beside the label. Comparisons are relative to 1e-12, so that an average
    of equal prices is no crossing; on a threshold counts as within it.
    """

    columns = (
        *("sma_30w", "stage_slope_pct", "stage_dist_pct", "stage_label", "stage_label_5d_ago"),
        *("stage_rules_version", "stage_flat_pct", "stage_near_pct", "stage_far_pct"),
    )
    memory = None

    def __init__(self, width: int) -> None:
        sums = [(WEEKS - 1, 0), (WEEKS, 0), (WEEKS, SLOPE_WEEKS - 1)]
        self._weeks = CompletedWeeks(width, _COMPLETED, sums)
        self._trend = np.zeros(width)  # of the last completed week that had one
        self._direction = np.zeros(width)  # of the bar before
        self._labels = np.full((BARS_AGO, width), float(STAGE_LABELS.index("UNKNOWN")))

    def feed(self, tile: Tile) -> None:
        earlier, week_ago, weeks_ago = (tile.scratch(f"stage {n}") for n in range(3))
        average, slope, distance, label, label_ago = (tile.out(name) for name in self.columns[:5])
        self._weeks.advance(tile.week_starts, tile.close_before, (earlier, week_ago, weeks_ago))
        _averages(tile.close, earlier, week_ago, weeks_ago, average)
        percent_change(average, weeks_ago, slope)
        percent_change(tile.close, average, distance)
        weekly = (tile.week_starts, tile.close, average, week_ago, weeks_ago)
        _label(_thresholds(tile.stage_rules), _CODES, *weekly, self._trend, self._direction, label)
        labels = tile.work.floats("stage labels", BARS_AGO + tile.rows, tile.width)
        labels[:BARS_AGO], labels[BARS_AGO:] = self._labels, label
        label_ago[:] = labels[: tile.rows]
        self._labels[:] = labels[tile.rows :]

    def write(self, tile: Tile) -> None:
        rules = tile.stage_rules
        values = (float(RULES_VERSION), rules.flat, rules.near, rules.far)
        for name, value in zip(self.columns[5:], values, strict=True):
            _where_traded(tile.close, value, tile.out(name))


def _thresholds(rules: StageRules) -> Floats:
    """Return what averages and prices are multiplied by: to have risen, to have fallen, to be above, below, beyond the
    near, the far, and below the near.
    """
    share = np.array([rules.flat, -rules.flat, 0.0, 0.0, rules.near, rules.far, -rules.near]) / 100.0
    rounding = np.array([TOLERANCE, -TOLERANCE, TOLERANCE, -TOLERANCE, TOLERANCE, TOLERANCE, -TOLERANCE])
    return np.asarray((1.0 + share) * (1.0 + rounding))


@compiled
def _averages(close: Floats, earlier: Floats, week_ago: Floats, weeks_ago: Floats, average: Floats) -> None:
    """Make averages of the sums, in place, and the one whose last week is the one to date."""
    rows, width = close.shape
    for k in range(rows):
        for i in range(width):
            average[k, i] = (earlier[k, i] + close[k, i]) * (1.0 / WEEKS)
        for i in range(width):
            week_ago[k, i] *= 1.0 / WEEKS
        for i in range(width):
            weeks_ago[k, i] *= 1.0 / WEEKS


@compiled
def _label(
    thresholds: Floats,
    codes: Floats,
    starts: Bools,
    close: Floats,
    average: Floats,
    week_ago: Floats,
    weeks_ago: Floats,
    trend: Floats,
    direction: Floats,
    out: Floats,
) -> None:
    rows, width = close.shape
    risen, fallen, above, below, near, far, near_below = thresholds
    unknown, one, two_a, three, four = codes
    for k in range(rows):
        for i in range(width):
            trend[i] = direction[i] if starts[k, i] & (direction[i] != 0.0) else trend[i]
        for i in range(width):
            price, mean, before = close[k, i], average[k, i], week_ago[k, i]
            advances = (mean > before * risen) & (price > mean * above)
            declines = (mean < before * fallen) & (price < mean * below)
            direction[i] = _ADVANCE if advances else (_DECLINE if declines else 0.0)
        for i in range(width):
            price, mean = close[k, i], average[k, i]
            is_near = (price <= mean * near) & (price >= mean * near_below)
            basing = is_near if trend[i] == 0.0 else trend[i] == _DECLINE
            out[k, i] = one if basing else three
        for i in range(width):
            price, mean = close[k, i], average[k, i]
            advanced = two_a + (1.0 if price > mean * near else 0.0) + (1.0 if price > mean * far else 0.0)
            out[k, i] = advanced if direction[i] == _ADVANCE else (four if direction[i] == _DECLINE else out[k, i])
        for i in range(width):
            out[k, i] = unknown if np.isnan(weeks_ago[k, i]) else out[k, i]


@compiled
def _where_traded(close: Floats, value: float, out: Floats) -> None:
    rows, width = close.shape
    for k in range(rows):
        for i in range(width):
            out[k, i] = value if close[k, i] == close[k, i] else np.nan

"""The weekly stage of a trend after Weinstein: the 30-week average, its slope, and a label that remembers."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.averages import TOLERANCE
from quantmatrix_pipeline.indicators.catalogue import STAGE_LABELS
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Bools, Floats
from quantmatrix_pipeline.indicators.stage_rules import RULES_VERSION, StageRules
from quantmatrix_pipeline.indicators.tile import Tile
from quantmatrix_pipeline.indicators.weeks import Columns, CompletedWeeks

WEEKS = 30  # of the average
SLOPE_WEEKS = 5  # over which its slope is told
BARS_AGO = 5  # of stage_label_5d_ago

_SHARE = 1.0 / WEEKS
_COMPLETED = WEEKS + SLOPE_WEEKS - 1  # weeks before the one to date, from which on everything is known
_UNKNOWN, _ONE, _TWO_A, _THREE, _FOUR = (STAGE_LABELS.index(name) for name in ("UNKNOWN", "1", "2A", "3", "4"))
_ADVANCE, _DECLINE = 2.0, 4.0
_EARLIER, _WEEK_AGO, _WEEKS_AGO, _TREND = range(4)  # what is carried from week to week


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
        self._weeks = CompletedWeeks(width, WEEKS)
        self._kept = np.full((BARS_AGO, 4, width), np.nan)
        self._kept[:, _TREND] = 0.0

    def feed(self, tile: Tile) -> None:
        carried = self._carried(tile)
        carried[:BARS_AGO] = self._kept
        for k, columns in enumerate(tile.week_starts):
            now = carried[BARS_AGO + k]
            now[...] = carried[BARS_AGO + k - 1]
            if len(columns):
                self._complete(tile.stage_rules, columns, tile.close_before[k, columns], now)
        self._kept[...] = carried[tile.rows :]

    def _carried(self, tile: Tile) -> Floats:
        """Shape (5 + rows, 4, width): of each row and of the five before it, what completed weeks have come to."""
        return tile.work.floats("stage", BARS_AGO + tile.rows, 4, tile.width)

    def _complete(self, rules: StageRules, columns: Columns, close: Floats, now: Floats) -> None:
        own = now[:, columns]
        average = (own[_EARLIER] + close) * _SHARE
        rising, falling = _direction(rules, close, average, own[_WEEK_AGO])
        own[_TREND][rising] = _ADVANCE
        own[_TREND][falling] = _DECLINE
        self._weeks.push(columns, close)
        own[_EARLIER] = self._weeks.total(columns, WEEKS - 1)
        own[_WEEK_AGO] = self._weeks.total(columns, WEEKS) * _SHARE
        own[_WEEKS_AGO] = self._weeks.total(columns, WEEKS, lag=SLOPE_WEEKS - 1) * _SHARE
        own[:_TREND, self._weeks.count[columns] < _COMPLETED] = np.nan
        now[:, columns] = own

    def write(self, tile: Tile) -> None:
        rules = tile.stage_rules
        carried = self._carried(tile)
        close = tile.work.floats("stage close", BARS_AGO + tile.rows, tile.width)
        close[:BARS_AGO] = tile.last_closes_before(BARS_AGO) if tile.row0 else np.nan
        close[BARS_AGO:] = tile.close
        average = np.add(carried[:, _EARLIER], close, out=tile.work.floats("stage average", len(close), tile.width))
        average *= _SHARE
        code = _codes(rules, close, average, carried)
        np.copyto(tile.out("stage_label"), code[BARS_AGO:])
        np.copyto(tile.out("stage_label_5d_ago"), code[: tile.rows])
        average = average[BARS_AGO:]
        np.copyto(tile.out("sma_30w"), average)
        _percent_from(average, carried[BARS_AGO:, _WEEKS_AGO], tile.out("stage_slope_pct"))
        _percent_from(tile.close, average, tile.out("stage_dist_pct"))
        ended = np.isnan(tile.close, out=tile.flags("ended"))
        for name, value in (
            ("stage_rules_version", float(RULES_VERSION)),
            ("stage_flat_pct", rules.flat),
            ("stage_near_pct", rules.near),
            ("stage_far_pct", rules.far),
        ):
            out = tile.out(name)
            out.fill(value)
            np.copyto(out, np.nan, where=ended)


def _percent_from(value: Floats, base: Floats, out: Floats) -> None:
    np.divide(value, base, out=out)
    np.subtract(out, 1.0, out=out)
    np.multiply(out, 100.0, out=out)


def _direction(rules: StageRules, close: Floats, average: Floats, week_ago: Floats) -> tuple[Bools, Bools]:
    """Return where the average rises with the price above it, and where it falls with the price below it."""
    up, down = (1.0 + rules.flat / 100.0) * (1.0 + TOLERANCE), (1.0 - rules.flat / 100.0) * (1.0 - TOLERANCE)
    rising = (average > week_ago * up) & (close > average * (1.0 + TOLERANCE))
    falling = (average < week_ago * down) & (close < average * (1.0 - TOLERANCE))
    return rising, falling


def _codes(rules: StageRules, close: Floats, average: Floats, carried: Floats) -> Floats:
    rising, falling = _direction(rules, close, average, carried[:, _WEEK_AGO])
    beyond_near = close > average * ((1.0 + rules.near / 100.0) * (1.0 + TOLERANCE))
    beyond_far = close > average * ((1.0 + rules.far / 100.0) * (1.0 + TOLERANCE))
    below_near = close < average * ((1.0 - rules.near / 100.0) * (1.0 - TOLERANCE))
    trend = carried[:, _TREND]
    topping = np.where(trend == 0.0, beyond_near | below_near, trend == _ADVANCE)
    code = np.where(topping, float(_THREE), float(_ONE))
    np.copyto(code, float(_FOUR), where=falling)
    above = _TWO_A + beyond_near.astype(np.float64)
    above += beyond_far
    np.copyto(code, above, where=rising)
    np.copyto(code, float(_UNKNOWN), where=np.isnan(carried[:, _WEEKS_AGO]))
    return code

"""The page docs/indicators.md, made from what is declared: `python -m quantmatrix_pipeline.indicators.document`."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from quantmatrix_pipeline.indicators.breadth import BREADTH
from quantmatrix_pipeline.indicators.catalogue import CATALOGUE, Indicator

INTRODUCTION = """\
# Indicators

Made from the catalogue by `python -m quantmatrix_pipeline.indicators.document`; a test holds the two together.

All of them are computed from stored daily bars, from the instrument's first bar on, in bar space: the bar before is
the bar before, whatever number of sessions lies between. C, H and L are close, high and low on the split-adjusted
series; C[1] is the close of the bar before. Prices come in shares of the row's own session: a split that comes later
changes no row. A bar that scored below 0.5 is left out.

An empty value means that there is not enough history, and nothing else but what a formula says. `first bar` is the
number of bars needed for the first value. Where TA-Lib has an indicator, the values are TA-Lib's to a relative 1e-9 and
begin on the same bar, but for `ema_200`, which is empty below 660 bars: seeded with the mean of 200 closes, it is off
by 1.5 % in the median and by 21 % at worst when it stands on 270.

Relative strength and the ranks depend on other instruments as well. A bar that comes late restates its own instrument's
rows and, at the newest session, everybody's; at older sessions the others keep where they stood by what was known then.

[Adding an indicator](adding-an-indicator.md) is one entry of the catalogue and one function.

"""

HEADER = """\
| column | unit | first bar | formula | source |
|---|---|---|---|---|
"""

RAW_ANALYSIS = """
## What does not fit in columns

`market_analysis_cache.raw_analysis` is JSON, about 0.9 kB in the mean:

| member | says |
|---|---|
| `bar` | open, high, low, close, volume of the row's bar |
| `bars`, `first_session` | how many bars the row follows from, and since when |
| `gaps` | the open ones, oldest first: `side`, `session` of the bar behind the gap, `low`, `high`, `percent` |
| `trend_lines` | those that hold: `side`, two `pivots` (`session`, `price`), `price` at this bar, `slope` per bar |
| `stage_rules` | `version` and thresholds by which `stage_label` was told |

`side` is up or down; a gap's `percent` is its width, of the edge at which price stood before; a line's sides are up
under lows, down over highs. There are as many gaps and lines as the row's `gaps_unfilled_*` and `trend_*_count` say.
Prices, slopes and the volume are told in the shares of the row's session.

The history does not store it: for each of its rows it follows from the bars up to that session, and would double the
table. `/api/v1/snapshots/{symbol}/history/{session}/analysis` computes it for any session, by the thresholds in force;
`/api/v1/snapshots/{symbol}/analysis` is that of the snapshot.
"""

BREADTH_INTRODUCTION = """
## Breadth of the market

`market_breadth` has a row per session and revision; `market_breadth_current` each session in its newest revision, with
the advance-decline line: advances minus declines, summed from the first recorded session on. It is served at
`/api/v1/market/breadth`.

Who counts is a stock with a usable bar on the session, tracked still or not: the instruments of which the history has a
row, without funds, indexes, coins and the benchmark (QM_BENCHMARK). What a source does not call a fund counts as a
stock. `first bar` is that of an instrument, below which it is in none but the first and the last of these columns.

The table is only added to, as the history is. A session that is counted again gets a new revision where a number
differs. Unlike a rank, which keeps what was known of the others, breadth follows every bar and split that comes late,
at each recorded session: its newest revision is the sum of the newest revisions of the session's rows.

"""


def page() -> str:
    """Return the page as Markdown."""
    return INTRODUCTION + _table(CATALOGUE) + RAW_ANALYSIS + BREADTH_INTRODUCTION + _table(BREADTH)


def _table(indicators: Iterable[Indicator]) -> str:
    return HEADER + "".join(_row(indicator) for indicator in indicators)


def _row(indicator: Indicator) -> str:
    columns = ", ".join(f"`{column.name}`" for column in indicator.columns)
    formula = indicator.formula.replace("|", r"\|")
    return f"| {columns} | {indicator.unit} | {indicator.lookback + 1} | {formula} | {indicator.source} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())

"""The page docs/indicators.md, made from the catalogue: `python -m quantmatrix_pipeline.indicators.document`."""

from __future__ import annotations

import sys

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

| column | unit | first bar | formula | source |
|---|---|---|---|---|
"""


def page() -> str:
    """Return the page as Markdown."""
    return INTRODUCTION + "".join(_row(indicator) for indicator in CATALOGUE)


def _row(indicator: Indicator) -> str:
    columns = ", ".join(f"`{column.name}`" for column in indicator.columns)
    formula = indicator.formula.replace("|", r"\|")
    return f"| {columns} | {indicator.unit} | {indicator.lookback + 1} | {formula} | {indicator.source} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())

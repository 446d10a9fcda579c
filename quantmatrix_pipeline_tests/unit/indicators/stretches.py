"""Answer files: stretches of real daily bars with what each chart metric is there, and the rule that changed it.

`python -m quantmatrix_pipeline_tests.unit.indicators.stretches` writes them anew from the literal references; the tests
hold the engine and the references to what is written.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline_tests.shared_data import shared_data
from quantmatrix_pipeline_tests.unit.indicators import literal_gaps, literal_td, literal_trend_lines
from quantmatrix_pipeline_tests.unit.indicators.panels import Floats, series

ANSWERS = Path(__file__).resolve().parents[2] / "answers"
STRETCHES = {
    "AAPL": (date(2015, 7, 1), date(2015, 12, 31)),
    "IBM": (date(2020, 1, 2), date(2020, 7, 31)),
    "MSFT": (date(2017, 7, 3), date(2018, 4, 30)),
    "SPY": (date(2019, 10, 1), date(2020, 6, 30)),
}
LITERAL: dict[str, Callable[[Floats, Floats, Floats], list[dict[str, int | str]]]] = {
    "td_sequential": literal_td.td_sequential,
    "gaps": literal_gaps.open_gaps,
    "trend_lines": literal_trend_lines.trend_lines,
}


def real_bars(symbol: str) -> Panel:
    """All shared daily bars of one symbol."""
    file = "benchmarks_1990_2021.parquet" if symbol == "SPY" else "us_daily_2015_2021.parquet"
    table = pq.read_table(shared_data("daily", file), filters=[("symbol", "=", symbol)]).sort_by("date")
    fields = {name: table[name].to_numpy().astype(float) for name in ("open", "high", "low", "close", "volume")}
    days = table["date"].to_numpy().astype("datetime64[D]")
    return Panel.from_rows(np.zeros(len(days), np.int32), days, **fields)


def worked_out(metric: str, symbol: str) -> list[dict[str, str]]:
    """Rows of the stretch by the literal reference, as they are written."""
    panel = real_bars(symbol)
    rows = LITERAL[metric](*series(panel, 0))
    first, last = STRETCHES[symbol]
    days = panel.session[panel.bars - len(rows) :, 0].tolist()
    return [
        {"session": day.isoformat()} | {name: str(value) for name, value in row.items()}
        for day, row in zip(days, rows, strict=True)
        if first <= day <= last
    ]


def written(metric: str, symbol: str) -> list[dict[str, str]]:
    with (ANSWERS / f"{metric}_{symbol}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    for metric in LITERAL:
        for symbol in STRETCHES:
            rows = worked_out(metric, symbol)
            with (ANSWERS / f"{metric}_{symbol}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0], lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)

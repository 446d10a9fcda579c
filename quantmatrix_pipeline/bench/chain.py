"""How long a night takes: the whole chain for one session after the first load, as the command line runs it."""

from __future__ import annotations

import time

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.bench.load import require
from quantmatrix_pipeline.bench.measure import Measured, Series, measured
from quantmatrix_pipeline.bench.workspace import Workspace

LIMIT = 20.0


def run(space: Workspace, repeats: int = 5) -> list[Measured]:
    """Load everything up to the session before the last `repeats` ones with `qm run`, then run those night by night."""
    series = Series()
    start, *nights = trading_calendar("XNYS").window(space.dataset.last, repeats + 1).tolist()
    with space.database() as database:
        extra = {"QM_DATABASE_URL": database.url}
        series.time("first", lambda: space.qm("run", "--session", str(start), extra=extra))
        for night in nights:
            space.settle()
            began = time.perf_counter()
            report = space.qm_json("run", "--session", str(night), extra=extra)
            wall = time.perf_counter() - began
            bars = report["facts"]["daily_bars"]["inserted"]
            require(bars >= len(space.dataset.symbols), f"the night of {night} stored {bars} bars")
            series.add("wall", wall)
            series.add("dagster", report["dagster_seconds"])
            series.add("start", wall - report["seconds"])
            series.add("ours", report["seconds"] - report["dagster_seconds"])
    wall_, size = series["wall"], f"{len(space.dataset.symbols)} symbols"
    return [
        measured(f"qm run, first load, {size}", series["first"], "s"),
        measured(
            f"qm run, one session after it, {size}",
            wall_,
            "s",
            requirement=f"<= {LIMIT:.0f} s",
            met=wall_.median <= LIMIT,
        ),
        measured(
            "of it: starting Python, Dagster's import, the database",
            series["start"],
            "s",
            ratio_to="the whole",
            ratio=series["start"].over(wall_),
        ),
        measured(
            "of it: Dagster's own (runs, events, checks)",
            series["dagster"],
            "s",
            ratio_to="the whole",
            ratio=series["dagster"].over(wall_),
        ),
        measured(
            "of it: fetch, validate, store, compute, record",
            series["ours"],
            "s",
            ratio_to="the whole",
            ratio=series["ours"].over(wall_),
        ),
    ]

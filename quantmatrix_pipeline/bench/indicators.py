"""The indicator engine beside the libraries that compute the same columns, and beside a bare write of its output."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping

import numpy as np

from quantmatrix_pipeline.bench.measure import Measured, Series, measured
from quantmatrix_pipeline.bench.peers import PEERS, prepared
from quantmatrix_pipeline.bench.report import Row
from quantmatrix_pipeline.bench.synthetic import synthetic_bars
from quantmatrix_pipeline.indicators.catalogue import COLUMNS, ENGINE_COLUMNS
from quantmatrix_pipeline.indicators.cross_section import CrossSection
from quantmatrix_pipeline.indicators.engine import THREADS, blocks, compute, last_rows
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline.indicators.tile import TILE_ROWS

CORE_COLUMNS = (
    *("rsi", "sma_5", "sma_8", "sma_20", "sma_21", "sma_50", "sma_100", "sma_200", "ema_8", "ema_10", "ema_21"),
    *("ema_200", "atr_14", "atr_30", "atrp_14", "atr_distance", "adx", "plus_di", "minus_di", "macd", "macd_signal"),
    *("macd_histogram", "perf_1d", "perf_5d", "perf_20d", "perf_60d", "perf_252d", "range_pos_20d", "range_pos_50d"),
    "range_pos_52w",
)
"""The 30 that other systems' snapshots hold and that every peer can compute as well."""

LARGE = (8000, 1260)
SMALL = ((500, 270), (500, 1260))
NIGHTLY = (8000, 1000)

GIGABYTE = 1e9
BARE_WRITE = "a bare write"
TALIB = "TA-Lib loop"

Tasks = Mapping[str, Callable[[], object]]


def run(repeats: int = 5) -> list[Row]:
    """Measure the engine at `LARGE`, at each of `SMALL` against every peer, and its last rows at `NIGHTLY`.

    Times are medians of `repeats` after one warm-up, the tasks in turns; a ratio is the median of those within a turn.
    Results are thrown away as they come, the engine's as the peers'. A peer that is not installed is said to be
    missing.
    """
    rows: list[Row] = []
    for size in SMALL:
        rows += _against_every_peer(size, repeats)
    return [*_large(repeats), *rows, *_nightly(repeats)]


def _large(repeats: int) -> list[Row]:
    panel, size = _panel(LARGE), _size(LARGE)
    core = f"{len(CORE_COLUMNS)} core columns"
    tasks: dict[str, Callable[[], object]] = {
        "engine": lambda: _drain(panel, CORE_COLUMNS, None),
        "engine, 1 thread": lambda: _drain(panel, CORE_COLUMNS, 1),
        BARE_WRITE: lambda: _bare_write(panel, len(CORE_COLUMNS)),
        "all columns": lambda: _everything(panel),
    }
    talib = prepared(TALIB, panel)
    if talib:
        tasks[TALIB] = talib
    series = _in_turns(tasks, repeats)
    bandwidth = series[BARE_WRITE].rate(panel.bars * panel.width * len(CORE_COLUMNS) * 8 / GIGABYTE)
    rows: list[Row] = [measured(f"the machine's write bandwidth: {BARE_WRITE} of {core}, {size}", bandwidth, "GB/s")]
    if talib:
        rows.append(measured(f"{TALIB}, {core}, {size}", series[TALIB], "s"))
        for name in ("engine", "engine, 1 thread"):
            title = f"{name}, {core}, {size}" + (f", {THREADS} threads" if name == "engine" else "")
            rows.append(
                _limited(title, series, name, TALIB, 0.5, ">= 2.0x as fast, aim 4x")
                if name == "engine"
                else measured(title, series[name], "s", ratio_to=TALIB, ratio=series[name].over(series[TALIB]))
            )
    else:
        rows.append(_missing(TALIB, size))
    return [
        *rows,
        _limited(f"the same beside {BARE_WRITE}", series, "engine", BARE_WRITE, 8.0, "<= 8, aim 4"),
        _memory(panel, size),
        _limited(f"all {len(COLUMNS)} columns, ranks too, {size}", series, "all columns", "engine", 6.0, "<= 6, aim 3"),
    ]


def _against_every_peer(shape: tuple[int, int], repeats: int) -> list[Row]:
    panel, size = _panel(shape), _size(shape)
    peers = {name: prepared(name, panel) for name in PEERS}
    tasks: dict[str, Callable[[], object]] = {"engine": lambda: _drain(panel, CORE_COLUMNS, None)}
    tasks |= {name: task for name, task in peers.items() if task}
    series = _in_turns(tasks, repeats)
    rows: list[Row] = [measured(f"engine, {len(CORE_COLUMNS)} core columns, {size}", series["engine"].times(1e3), "ms")]
    for name, task in peers.items():
        if task is None:
            rows.append(_missing(name, size))
            continue
        ratio = series["engine"].over(series[name])
        rows.append(
            measured(
                f"{name}, {size}",
                series[name].times(1e3),
                "ms",
                ratio_to="it is the engine's time",
                ratio=ratio,
                requirement="engine faster, aim 5x",
                met=ratio.median < 1.0,
            )
        )
    return rows


def _nightly(repeats: int) -> list[Row]:
    instruments, bars = NIGHTLY
    panel, size = synthetic_bars(instruments, bars).panel(), f"{_size(NIGHTLY)} ragged"
    series = _in_turns(
        {"core": lambda: last_rows(panel, columns=CORE_COLUMNS), "all": lambda: last_rows(panel)}, repeats
    )
    return [
        measured(
            f"last row of each instrument, {len(CORE_COLUMNS)} core columns, {size}",
            series["core"],
            "s",
            requirement="<= 0.5 s, aim 0.2",
            met=series["core"].median <= 0.5,
        ),
        measured(
            f"last row of each instrument, {len(ENGINE_COLUMNS)} columns, {size}",
            series["all"],
            "s",
            ratio_to="core columns",
            ratio=series["all"].over(series["core"]),
        ),
    ]


def _panel(shape: tuple[int, int]) -> Panel:
    instruments, bars = shape
    return synthetic_bars(instruments, bars, shortest_life=bars, hole_share=0.0).panel()


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[0]:,} x {shape[1]:,}"


def _in_turns(tasks: Tasks, repeats: int) -> Series:
    """Time the tasks in turns, so that a busy moment hits all alike; the first turn pays for pages and caches."""
    series = Series()
    for turn in range(repeats + 1):
        into = series if turn else Series()
        for name, task in tasks.items():
            into.time(name, task)
    return series


def _limited(title: str, series: Series, name: str, to: str, limit: float, requirement: str) -> Measured:
    ratio = series[name].over(series[to])
    return measured(
        title, series[name], "s", ratio_to=to, ratio=ratio, requirement=requirement, met=ratio.median <= limit
    )


def _missing(peer: str, size: str) -> Measured:
    return Measured(f"{peer}, {size}: not installed (extra `bench`)", float("nan"), "")


def _drain(panel: Panel, columns: tuple[str, ...] | None, threads: int | None) -> None:
    for _ in blocks(panel, columns=columns, threads=threads):
        pass


def _everything(panel: Panel) -> None:
    _drain(panel, None, None)
    CrossSection.over_sessions(panel, panel.session[0].min())


def _bare_write(panel: Panel, columns: int) -> None:
    """Fill a reused buffer, larger than the caches, as often as the output needs: the least that any engine must do."""
    buffer = np.empty((TILE_ROWS, columns, panel.width))
    for row in range(0, panel.bars, TILE_ROWS):
        buffer[: panel.bars - row].fill(row)


def _memory(panel: Panel, size: str) -> Measured:
    """What the engine holds at most beside its whole output, as Python's allocators see it."""
    tracemalloc.start()
    values = compute(panel, CORE_COLUMNS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    beyond = peak - values.nbytes
    share = beyond / values.nbytes
    return Measured(
        f"peak memory beyond the output, {len(CORE_COLUMNS)} core columns, {size}",
        beyond / (1 << 20),
        "MiB",
        "the output",
        share,
        "<= 0.15 of the output",
        met=share <= 0.15,
    )

"""The indicator engine against a TA-Lib loop over symbols with the same outputs, and against a bare write of them."""

from __future__ import annotations

import importlib
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from types import ModuleType

import numpy as np

from quantmatrix_pipeline.bench.report import Row, interleaved_medians
from quantmatrix_pipeline.bench.synthetic import synthetic_bars
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.indicators.catalogue import (
    ATR_WINDOWS,
    EMA_WINDOWS,
    ENGINE_COLUMNS,
    PERF_WINDOWS,
    RANGE_WINDOWS,
    SMA_WINDOWS,
)
from quantmatrix_pipeline.indicators.engine import blocks, last_rows
from quantmatrix_pipeline.indicators.panel import Dates, Floats, Panel
from quantmatrix_pipeline.indicators.tile import TILE_ROWS

SIZES = ((500, 1260), (8000, 1260))
MEMORY_SIZE = (8000, 1000)
MEBIBYTE = 1 << 20


def run(repeats: int = 5) -> list[Row]:
    """Measure engine, TA-Lib loop and bare write at `SIZES`, and the memory and the nightly pass at `MEMORY_SIZE`.

    Times are medians of `repeats` after one warm-up, the tasks in turns. The TA-Lib loop gets its input as contiguous
    vectors, throws its results away as the engine's blocks are thrown away, and computes what TA-Lib lacks (calendar
    performance, order of averages) with NumPy on the symbol's vectors.

    Raises
    ------
    ConfigurationError
        TA-Lib is not installed.
    """
    talib = _talib()
    rows: list[Row] = []
    for instruments, bars in SIZES:
        size = f"{instruments}x{bars}"
        panel = synthetic_bars(instruments, bars, shortest_life=bars, hole_share=0.0).panel()
        symbols = [_vectors(panel, instrument) for instrument in range(panel.width)]
        tasks: dict[str, Callable[[], object]] = {
            "engine, 1 thread": lambda panel=panel: _drain(panel, 1),  # type: ignore[misc]
            "engine": lambda panel=panel: _drain(panel, None),  # type: ignore[misc]
            "TA-Lib loop": lambda symbols=symbols: _talib_loop(talib, symbols),  # type: ignore[misc]
            "bare write": lambda panel=panel: _bare_write(panel),  # type: ignore[misc]
        }
        seconds = interleaved_medians(tasks, repeats)
        for name, value in seconds.items():
            peer = "bare write" if name == "TA-Lib loop" else "TA-Lib loop"
            requirement = "faster than the TA-Lib loop" if name.startswith("engine") else ""
            rows.append(
                Row(
                    f"{name}, {size}, {len(ENGINE_COLUMNS)} columns",
                    value,
                    "s",
                    peer,
                    value / seconds[peer],
                    requirement,
                )
            )
    return rows + _recompute(repeats)


def _talib() -> ModuleType:
    try:
        return importlib.import_module("talib")
    except ImportError as error:
        raise ConfigurationError(
            "bench indicators: TA-Lib, the peer that the engine is measured against, is not installed; "
            "install the project with its dev extra, or run the other benchmarks"
        ) from error


def _drain(panel: Panel, threads: int | None) -> None:
    for _ in blocks(panel, threads=threads):
        pass


def _bare_write(panel: Panel) -> None:
    """Fill a reused buffer of the engine's shape as often as the engine does: the least that any engine must do."""
    buffer = np.empty((TILE_ROWS, len(ENGINE_COLUMNS), panel.width))
    for row in range(0, panel.bars, TILE_ROWS):
        buffer[: panel.bars - row].fill(row)


def _recompute(repeats: int) -> list[Row]:
    instruments, bars = MEMORY_SIZE
    size = f"{instruments}x{bars} ragged"
    tracemalloc.start()
    panel = synthetic_bars(instruments, bars).panel()
    tracemalloc.reset_peak()
    held, _ = tracemalloc.get_traced_memory()
    _drain(panel, 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    nightly = interleaved_medians({"last rows": lambda: last_rows(panel, threads=2)}, repeats)["last rows"]
    return [
        Row(f"peak memory, {size}, input included", peak / MEBIBYTE, "MiB", requirement="<= 2048 MiB"),
        Row(f"peak memory beyond the input, {size}", (peak - held) / MEBIBYTE, "MiB", "input", (peak - held) / held),
        Row(f"last row of each instrument, {size}, 2 threads", nightly, "s"),
    ]


def _vectors(panel: Panel, instrument: int) -> tuple[Floats, Floats, Floats, Dates]:
    bars = panel.length[instrument]
    high, low, close = (field[:bars, instrument].copy() for field in (panel.high, panel.low, panel.close))
    return high, low, close, panel.session[:bars, instrument].copy()


def _talib_loop(talib: ModuleType, symbols: list[tuple[Floats, Floats, Floats, Dates]]) -> None:
    with np.errstate(all="ignore"):  # windows without a range, as in the engine
        for high, low, close, session in symbols:
            _talib_outputs(talib, high, low, close, session)


def _talib_outputs(talib: ModuleType, high: Floats, low: Floats, close: Floats, session: Dates) -> None:
    """Compute the engine's columns for one symbol."""
    talib.RSI(close, 14)
    sma = {n: talib.SMA(close, n) for n in SMA_WINDOWS}
    ema = {n: talib.EMA(close, n) for n in EMA_WINDOWS}
    atr = {n: talib.ATR(high, low, close, n) for n in ATR_WINDOWS}
    for n in ATR_WINDOWS:
        talib.NATR(high, low, close, n)
    (close - sma[50]) / atr[14]
    talib.ADX(high, low, close, 14)
    talib.PLUS_DI(high, low, close, 14)
    talib.MINUS_DI(high, low, close, 14)
    talib.MACD(close, 12, 26, 9)
    for n in PERF_WINDOWS:
        talib.ROC(close, n)
    month = session.astype("datetime64[M]").view(np.int64)
    for months in (1, 3, 12):
        period = month // months
        begins = np.flatnonzero(period[1:] != period[:-1]) + 1
        base = np.repeat(np.append(np.nan, close[begins - 1]), np.diff(begins, prepend=0, append=len(close)))
        100.0 * (close / base - 1.0)
    for n in RANGE_WINDOWS.values():
        lowest = talib.MIN(low, n)
        100.0 * (close - lowest) / (talib.MAX(high, n) - lowest)
    chain = (close, sma[5], sma[8], sma[21], sma[50], sma[100], sma[200])
    np.logical_and.reduce([a > b for a, b in pairwise(chain)])
    np.logical_and.reduce([a < b for a, b in pairwise(chain)])
    order = (ema[21], sma[21], sma[50], sma[100], sma[200])
    np.logical_and.reduce([a >= b for a, b in pairwise(order)])

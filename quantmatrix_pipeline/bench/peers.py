"""The libraries that the indicator engine is measured against, each computing the core columns in its own best way.

A peer is prepared with a panel of full lives, its input laid out as it likes it best, and then run; running computes
the columns of every symbol, in one process, and hands back those of the last, by which a test holds the peer to its
task.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType

import numpy as np
import pandas as pd

from quantmatrix_pipeline.indicators.panel import Floats, Panel

Task = Callable[[], Mapping[str, Floats]]

SMA, EMA, ATR, PERF = (5, 8, 20, 21, 50, 100, 200), (8, 10, 21, 200), (14, 30), (1, 5, 20, 60, 252)
RANGE = {"20d": 20, "50d": 50, "52w": 252}


def prepared(name: str, panel: Panel) -> Task | None:
    """Return a peer of `PEERS` ready to run, None where a library that it needs is not installed."""
    prepare, modules = PEERS[name]
    try:
        return prepare(panel, *(importlib.import_module(module) for module in modules))
    except ImportError:
        return None


def _symbols(panel: Panel) -> list[tuple[Floats, Floats, Floats]]:
    """High, low and close of each symbol as contiguous vectors."""
    fields = panel.high, panel.low, panel.close
    return [(high, low, close) for high, low, close in zip(*(field.T.copy() for field in fields), strict=True)]


def _talib(panel: Panel, talib: ModuleType) -> Task:
    """TA-Lib, a loop over the symbols' vectors."""
    symbols = _symbols(panel)

    def run() -> dict[str, Floats]:
        values: dict[str, Floats] = {}
        with np.errstate(all="ignore"):  # windows without a range, as in the engine
            for high, low, close in symbols:
                values = _talib_columns(talib, high, low, close)
        return values

    return run


def _talib_columns(talib: ModuleType, high: Floats, low: Floats, close: Floats) -> dict[str, Floats]:
    values: dict[str, Floats] = {"rsi": talib.RSI(close, 14), "atrp_14": talib.NATR(high, low, close, 14)}
    values |= {f"sma_{n}": talib.SMA(close, n) for n in SMA}
    values |= {f"ema_{n}": talib.EMA(close, n) for n in EMA}
    values |= {f"atr_{n}": talib.ATR(high, low, close, n) for n in ATR}
    values["atr_distance"] = (close - values["sma_50"]) / values["atr_14"]
    values["adx"] = talib.ADX(high, low, close, 14)
    values["plus_di"] = talib.PLUS_DI(high, low, close, 14)
    values["minus_di"] = talib.MINUS_DI(high, low, close, 14)
    values["macd"], values["macd_signal"], values["macd_histogram"] = talib.MACD(close, 12, 26, 9)
    values |= {f"perf_{n}d": talib.ROC(close, n) for n in PERF}
    for name, n in RANGE.items():
        lowest = talib.MIN(low, n)
        values[f"range_pos_{name}"] = 100.0 * (close - lowest) / (talib.MAX(high, n) - lowest)
    return values


def _polars(panel: Panel, pl: ModuleType, _: ModuleType) -> Task:
    """polars-talib: expressions over one long frame, by symbol, on all of Polars' threads."""
    bars = panel.bars
    names = np.repeat(np.arange(panel.width, dtype=np.int32), bars)
    fields = {name: getattr(panel, name).T.ravel() for name in ("high", "low", "close")}
    frame = pl.DataFrame({"symbol": names, **fields})
    close, high, low = (pl.col(name) for name in ("close", "high", "low"))
    columns = {"rsi": close.ta.rsi(14), "atrp_14": close.ta.natr(high, low, timeperiod=14)}
    columns |= {f"sma_{n}": close.ta.sma(n) for n in SMA}
    columns |= {f"ema_{n}": close.ta.ema(n) for n in EMA}
    columns |= {f"atr_{n}": close.ta.atr(high, low, timeperiod=n) for n in ATR}
    columns["atr_distance"] = (close - close.ta.sma(50)) / close.ta.atr(high, low, timeperiod=14)
    for name, kind in (("adx", close.ta.adx), ("plus_di", close.ta.plus_di), ("minus_di", close.ta.minus_di)):
        columns[name] = kind(high, low, timeperiod=14)
    columns["macd_all"] = close.ta.macd(12, 26, 9)
    columns |= {f"perf_{n}d": close.ta.roc(n) for n in PERF}
    for name, n in RANGE.items():
        columns[f"range_pos_{name}"] = 100.0 * (close - low.ta.min(n)) / (high.ta.max(n) - low.ta.min(n))
    expressions = [expression.over("symbol").alias(name) for name, expression in columns.items()]

    def run() -> dict[str, Floats]:
        done = frame.lazy().with_columns(expressions).unnest("macd_all").collect().tail(bars)
        renamed = {"macdsignal": "macd_signal", "macdhist": "macd_histogram"}
        return {renamed.get(name, name): done[name].to_numpy() for name in done.columns}

    return run


def _pandas(panel: Panel) -> Task:
    """pandas: rolling and exponential windows over frames of bars x symbols."""
    high, low, close = (pd.DataFrame(field) for field in (panel.high, panel.low, panel.close))

    def run() -> dict[str, Floats]:
        frames = _pandas_columns(high, low, close)
        return {name: frame.iloc[:, -1].to_numpy() for name, frame in frames.items()}

    return run


def _begun(x: pd.DataFrame, first: int, n: int, alpha: float) -> pd.DataFrame:
    """Return the exponential average with this weight, begun with the mean of the n rows from `first` on."""
    seeded = x.copy()
    seeded.iloc[: first + n - 1] = np.nan
    seeded.iloc[first + n - 1] = x.iloc[first : first + n].mean()
    return seeded.ewm(alpha=alpha, adjust=False).mean()


def _pandas_columns(high: pd.DataFrame, low: pd.DataFrame, close: pd.DataFrame) -> dict[str, pd.DataFrame]:
    before, change = close.shift(), close.diff()
    gain, loss = (_begun(side.clip(lower=0.0), 1, 14, 1 / 14) for side in (change, -change))
    span = high.where(high > before, before) - low.where(low < before, before)
    values = {"rsi": 100.0 * gain / (gain + loss)}
    values |= {f"sma_{n}": close.rolling(n).mean() for n in SMA}
    values |= {f"ema_{n}": _begun(close, 0, n, 2 / (n + 1)) for n in EMA}
    values |= {f"atr_{n}": _begun(span, 1, n, 1 / n) for n in ATR}
    values["atrp_14"] = 100.0 * values["atr_14"] / close
    values["atr_distance"] = (close - values["sma_50"]) / values["atr_14"]
    values |= _pandas_directions(high, low, span)
    macd = _begun(close, 14, 12, 2 / 13) - _begun(close, 0, 26, 2 / 27)
    signal = _begun(macd, 25, 9, 2 / 10)
    values |= {"macd": macd.where(signal.notna()), "macd_signal": signal, "macd_histogram": macd - signal}
    values |= {f"perf_{n}d": 100.0 * (close / close.shift(n) - 1.0) for n in PERF}
    for name, n in RANGE.items():
        lowest = low.rolling(n).min()
        values[f"range_pos_{name}"] = 100.0 * (close - lowest) / (high.rolling(n).max() - lowest)
    return values


def _pandas_directions(high: pd.DataFrame, low: pd.DataFrame, span: pd.DataFrame) -> dict[str, pd.DataFrame]:
    up, down = high.diff(), -low.diff()
    moves = (up.where((up > down) & (up > 0), 0.0), down.where((down > up) & (down > 0), 0.0), span)
    plus, minus, ranges = (_wilder_sum(move) for move in moves)
    plus_di, minus_di = 100.0 * plus / ranges, 100.0 * minus / ranges
    dx = 100.0 * (plus_di - minus_di).abs() / (plus_di + minus_di)
    return {"plus_di": plus_di, "minus_di": minus_di, "adx": _begun(dx, 14, 14, 1 / 14)}


def _wilder_sum(x: pd.DataFrame) -> pd.DataFrame:
    """Return S = S[1] - S[1]/14 + x, begun with the sum of rows 1..13 and told from row 14 on."""
    seeded = x.copy()
    seeded.iloc[:13] = np.nan
    seeded.iloc[13] = x.iloc[1:14].sum() / 14.0
    sums = 14.0 * seeded.ewm(alpha=1 / 14, adjust=False).mean()
    sums.iloc[:14] = np.nan
    return sums


def _pandas_ta(panel: Panel, ta: ModuleType) -> Task:
    """pandas-ta-classic: its functions symbol by symbol, as they come: in Python, TA-Lib only where it is told to."""
    symbols = [tuple(pd.Series(field) for field in fields) for fields in _symbols(panel)]

    def run() -> dict[str, Floats]:
        values: dict[str, pd.Series[float]] = {}
        for high, low, close in symbols:
            values = _pandas_ta_columns(ta, high, low, close)
        return {name: np.asarray(value, np.float64) for name, value in values.items()}

    return run


def _pandas_ta_columns(
    ta: ModuleType, high: pd.Series[float], low: pd.Series[float], close: pd.Series[float]
) -> dict[str, pd.Series[float]]:
    values = {"rsi": ta.rsi(close, 14), "atrp_14": ta.natr(high, low, close, 14)}
    values |= {f"sma_{n}": ta.sma(close, n) for n in SMA}
    values |= {f"ema_{n}": ta.ema(close, n) for n in EMA}
    values |= {f"atr_{n}": ta.atr(high, low, close, n) for n in ATR}
    values["atr_distance"] = (close - values["sma_50"]) / values["atr_14"]
    directions = ta.adx(high, low, close, 14)
    values |= {
        name: directions[column] for name, column in (("adx", "ADX_14"), ("plus_di", "DMP_14"), ("minus_di", "DMN_14"))
    }
    macd = ta.macd(close, 12, 26, 9)
    for name, column in (("macd", "MACD"), ("macd_signal", "MACDs"), ("macd_histogram", "MACDh")):
        values[name] = macd[f"{column}_12_26_9"]
    values |= {f"perf_{n}d": ta.roc(close, n) for n in PERF}
    for name, n in RANGE.items():
        lowest = low.rolling(n).min()
        values[f"range_pos_{name}"] = 100.0 * (close - lowest) / (high.rolling(n).max() - lowest)
    return values


PEERS: dict[str, tuple[Callable[..., Task], tuple[str, ...]]] = {
    "TA-Lib loop": (_talib, ("talib",)),
    "polars-talib": (_polars, ("polars", "polars_talib")),
    "pandas": (_pandas, ()),
    "pandas-ta-classic": (_pandas_ta, ("pandas_ta_classic",)),
}
"""Name -> how it is prepared, and the modules that it needs."""

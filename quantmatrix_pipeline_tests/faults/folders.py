"""Folders of bars for the files source, constructed from a seed: moderate in size, with the oddities of real ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from quantmatrix_pipeline.bars.sessions import trading_calendar

FIRST, LAST = date(2020, 10, 30), date(2022, 1, 7)  # two years, so that the history needs two partitions


@dataclass(frozen=True, slots=True)
class Folder:
    """A constructed folder and what a run over it needs to know.

    `frame` holds the rows as written: symbol, date, open, high, low, close, volume.
    """

    path: Path
    frame: pd.DataFrame
    sessions: list[date]
    broken: int

    def environment(self) -> dict[str, str]:
        """Return the variables of a run on the evening of the last session."""
        return {
            "QM_SOURCE": "files",
            "QM_FILES_DIR": str(self.path),
            "QM_NOW": f"{self.sessions[-1]}T23:30:00Z",
            "QM_HISTORY_SESSIONS": str(len(self.sessions)),
            "QM_START_SESSION": "2020-01-02",
            "QM_LOCK_WAIT_SECONDS": "60",
            "QM_WIKIPEDIA_BASE_URL": "http://127.0.0.1:9",
        }


def frame(symbols: list[str], sessions: list[date], seed: int) -> pd.DataFrame:
    """Return sound bars of a random walk, one row per symbol and session."""
    rng = np.random.default_rng(seed)
    shape = (len(symbols), len(sessions))
    close = np.round(rng.uniform(20, 200, (shape[0], 1)) * np.exp(np.cumsum(rng.normal(0, 0.015, shape), axis=1)), 2)
    open_ = np.round(close * (1 + rng.normal(0, 0.004, shape)), 2)
    high = np.round(np.maximum(open_, close) * (1 + rng.uniform(0, 0.01, shape)), 2)
    low = np.round(np.minimum(open_, close) * (1 - rng.uniform(0, 0.01, shape)), 2)
    return pd.DataFrame(
        {
            "symbol": np.repeat(symbols, shape[1]),
            "date": pd.to_datetime(np.tile(np.array(sessions, "datetime64[D]"), shape[0])).date,
            "open": open_.ravel(),
            "high": np.maximum(high, np.maximum(open_, close)).ravel(),
            "low": np.minimum(low, np.minimum(open_, close)).ravel(),
            "close": close.ravel(),
            "volume": np.round(rng.lognormal(13, 0.4, shape)).ravel(),
        }
    )


def construct(path: Path, *, symbols: int = 60, first: date = FIRST, last: date = LAST, seed: int = 20211231) -> Folder:
    """Write a folder: two bases, splits, an index, 1 % holes, and one row in 600 that breaks a hard rule.

    It names no dividends: with them the adjusted prices would be put back into raw ones, and all be of one basis.
    """
    rng = np.random.default_rng(seed)
    sessions = trading_calendar("XNYS").sessions_in(first, last).tolist()
    names = ["SPY", *(f"S{i:03}" for i in range(1, symbols))]
    bars = frame(names, sessions, seed)
    split_symbols = names[1:6]
    for number, symbol in enumerate(split_symbols):  # raw prices fall to half on the ex-date
        after = (bars.symbol == symbol) & (bars.date >= sessions[len(sessions) // 2 + 7 * number])
        bars.loc[after, ["open", "high", "low", "close"]] /= 2
        bars.loc[after, "volume"] *= 2
    bars = bars[rng.random(len(bars)) >= 0.01].reset_index(drop=True)
    broken = rng.choice(len(bars), len(bars) // 600, replace=False)
    bars.loc[broken[0::3], "high"] = bars.loc[broken[0::3], "low"] * 0.9
    bars.loc[broken[1::3], "close"] = np.nan
    bars.loc[broken[2::3], "low"] = -1.0

    path.mkdir(parents=True)
    adjusted = bars.symbol.isin(names[-symbols // 3 :])
    bars[~adjusted].to_parquet(path / "raw.parquet", index=False)
    bars[adjusted].to_csv(path / "adjusted.csv.gz", index=False)
    pd.DataFrame(
        {
            "symbol": split_symbols,
            "ex_date": [sessions[len(sessions) // 2 + 7 * n] for n in range(len(split_symbols))],
            "ratio": "2",
        }
    ).to_csv(path / "splits.csv", index=False)
    # The one index that may be this short; GHOST is a member that no file knows.
    pd.DataFrame({"symbol": [*names[1:], "GHOST"]}).to_csv(path / "dow30.csv", index=False)
    (path / "source.toml").write_text(
        '[[bars]]\npath = "raw.parquet"\nbasis = "raw"\n\n'
        f'[[bars]]\npath = "adjusted.csv.gz"\nbasis = "split_dividend"\nbasis_date = {last}\n\n'
        '[actions]\nsplits = "splits.csv"\n\n[constituents]\nDOW30 = "dow30.csv"\n'
    )
    return Folder(path, bars, sessions, len(broken))

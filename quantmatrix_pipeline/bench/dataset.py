"""The bars that the benchmarks and the pipeline's tests run on, as a folder that the files source reads.

The real ones are the first 500 symbols, by name, that have a bar on all 1,260 sessions 2016-12-30..2021-12-31. Where
the file with them is missing, seeded random walks of the same size take their place, and the data set says so.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quantmatrix_pipeline.bars.batch import Dates
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.errors import ConfigurationError

DATA_VARIABLE = "QM_BENCH_DATA"
DEFAULT_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
DAILY = Path("daily") / "us_daily_2015_2021.parquet"
BENCHMARKS = Path("daily") / "benchmarks_1990_2021.parquet"

FIRST = date(2016, 12, 30)
LAST = date(2021, 12, 31)
SYMBOLS = 500
BENCHMARK = "SPY"
COLUMNS = ("symbol", "date", "open", "high", "low", "close", "volume")
_SEED = 20161230

# Real members would be asked of the network; these stand for them by their number only.
_MEMBERS = {"SP500": 500, "NASDAQ100": 100, "DOW30": 30}

_DECLARATION = """\
# Prices are adjusted for the splits up to the date that stands beside them; SPY's for its dividends as well.
[[bars]]
path = "us500.parquet"
basis = "{basis}"
{basis_date}

[[bars]]
path = "spy.parquet"
basis = "{benchmark_basis}"
{benchmark_basis_date}
kind = "fund"

# Constructed: the right number of members, not the right ones.
[constituents]
SP500 = "sp500.csv"
NASDAQ100 = "nasdaq100.csv"
DOW30 = "dow30.csv"
"""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A folder with a `source.toml`, and what it holds.

    Attributes
    ----------
    folder
        Fit for `QM_FILES_DIR`.
    symbols
        The stocks, sorted; the benchmark SPY is there besides.
    first, last
        The first and last session, both inclusive; every stock has a bar on each between.
    real
        Whether these are real bars.
    description
        One line for people.
    """

    folder: Path
    symbols: tuple[str, ...]
    first: date
    last: date
    real: bool
    description: str


def data_folder() -> Path:
    """Return the folder of real data: the one that `QM_BENCH_DATA` names, else `shared/data` beside the checkout.

    Raises
    ------
    ConfigurationError
        The variable names a folder that holds no such file: asked for real bars, nobody wants random ones.
    """
    named = os.environ.get(DATA_VARIABLE)
    folder = Path(named) if named else DEFAULT_DATA
    if named and not (folder / DAILY).is_file():
        raise ConfigurationError(
            f"{DATA_VARIABLE}={named!r}: there is no {DAILY} in it; name another folder or unset it"
        )
    return folder


def write_folder(folder: Path, *, symbols: int = SYMBOLS, source: Path | None = None) -> Dataset:
    """Write the files source's folder and return what it holds.

    Parameters
    ----------
    folder
        Made when it is not there.
    symbols
        How many stocks, the first by name.
    source
        The folder of real data, by default `data_folder()`; where it lacks the file, bars are generated.
    """
    source = source or data_folder()
    folder.mkdir(parents=True, exist_ok=True)
    real = (source / DAILY).is_file()
    if real:
        bars, names = _real_bars(source / DAILY, symbols)
        benchmark = _benchmark_bars(source / BENCHMARKS)
        description = f"{len(names)} real US stocks x {_sessions().size} sessions {FIRST}..{LAST}"
    else:
        names = [f"S{number:03d}" for number in range(symbols)]
        bars, benchmark = _random_walks(names, _SEED), _random_walks([BENCHMARK], _SEED + 1)
        description = (
            f"{len(names)} SYNTHETIC stocks (random walks, seed {_SEED}) x {_sessions().size} sessions {FIRST}..{LAST}:"
            f" no {DAILY} in {source}"
        )
    pq.write_table(bars, folder / "us500.parquet")
    pq.write_table(benchmark, folder / "spy.parquet")
    for index, count in _MEMBERS.items():
        (folder / f"{index.lower()}.csv").write_text("\n".join(["symbol", *names[:count]]) + "\n")
    (folder / "source.toml").write_text(
        _DECLARATION.format(
            basis="split" if real else "raw",
            basis_date="basis_date = 2024-03-31" if real else "",
            benchmark_basis="split_dividend" if real else "raw",
            benchmark_basis_date=f"basis_date = {LAST}" if real else "",
        )
    )
    return Dataset(folder, tuple(names), FIRST, LAST, real, description)


def write_until(dataset: Dataset, folder: Path, last: date) -> None:
    """Write the data set once more, as if `last`, inclusive, were its newest session; each file is replaced whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in dataset.folder.iterdir():
        unfinished = folder / f"{file.name}.part"
        if file.suffix == ".parquet":
            pq.write_table(pq.read_table(file, filters=[("date", "<=", last)]), unfinished)
        else:
            shutil.copyfile(file, unfinished)
        unfinished.replace(folder / file.name)


def _sessions() -> Dates:
    return trading_calendar("XNYS").sessions_in(FIRST, LAST)


def _real_bars(path: Path, count: int) -> tuple[pa.Table, list[str]]:
    inside = [("date", ">=", FIRST), ("date", "<=", LAST)]
    bars = pq.read_table(path, columns=list(COLUMNS), filters=inside)
    lives = bars.group_by("symbol").aggregate([("date", "count_distinct")])
    whole = lives.filter(pc.equal(lives["date_count_distinct"], _sessions().size))
    names = sorted(whole["symbol"].to_pylist())[:count]
    if len(names) < count:
        raise ConfigurationError(
            f"{path}: {len(names)} symbols have all {_sessions().size} sessions, {count} are needed"
        )
    return bars.filter(pc.is_in(bars["symbol"], pa.array(names, bars["symbol"].type))), names


def _benchmark_bars(path: Path) -> pa.Table:
    inside = [("symbol", "==", BENCHMARK), ("date", ">=", FIRST), ("date", "<=", LAST)]
    return pq.read_table(path, columns=list(COLUMNS), filters=inside)


def _random_walks(names: list[str], seed: int) -> pa.Table:
    """Return bars of seeded random walks, two per cent a day, in cents, that keep every bar rule."""
    sessions = _sessions()
    shape = (len(names), sessions.size)
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.02, shape), axis=1))
    open_ = close * np.exp(random.normal(0, 0.005, shape))
    reach = np.abs(random.normal(0, 0.01, shape))
    prices = {
        "open": open_,
        "high": np.maximum(open_, close) * (1 + reach),
        "low": np.minimum(open_, close) * (1 - reach / 2),
        "close": close,
    }
    return pa.table(
        {
            "symbol": np.repeat(names, sessions.size),
            "date": pa.array(np.tile(sessions, len(names)), pa.date32()),
            **{name: np.maximum(np.round(values, 2), 0.01).ravel() for name, values in prices.items()},
            "volume": np.floor(1e6 * np.exp(random.normal(0, 0.3, shape))).ravel(),
        }
    )

"""Faults put into real bars by a seeded hand, and how a list of findings fares against them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow.parquet as pq

from quantmatrix_pipeline.bars.repair.detect import find_repairs
from quantmatrix_pipeline.bars.repair.junk import read_bar
from quantmatrix_pipeline.bars.repair.second_source import SecondSource
from quantmatrix_pipeline.bars.rules import BarRows
from quantmatrix_pipeline_tests.shared_data import shared_data

FIELDS = ("open", "high", "low", "close", "volume")
PRICES = FIELDS[:4]
RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0)


@dataclass
class Panel:
    """Real bars of many stocks, sorted, with the second source beside them."""

    index: np.ndarray
    session: np.ndarray
    values: dict[str, np.ndarray]
    second: SecondSource

    def rows(self, values: dict[str, np.ndarray] | None = None) -> BarRows:
        n = len(self.session)
        stocks = int(self.index.max()) + 1
        return BarRows(
            self.index, self.session, **(values or self.values), unit=np.ones(n), is_new=np.ones(n, bool),
            without_volume=np.zeros(stocks, bool),
        )  # fmt: skip

    def copy(self) -> dict[str, np.ndarray]:
        return {name: column.copy() for name, column in self.values.items()}


def real_panel(stocks: int | None = None) -> Panel:
    """Return the first so many stocks of the daily bars, or all; bars that break a hard rule are left out."""
    ours, names = _sorted(shared_data("daily", "us_daily_2015_2021.parquet"), None, stocks)
    theirs, _ = _sorted(shared_data("daily_second_source", "us_daily_2015_2021.parquet"), names, stocks)
    second = SecondSource(
        theirs[0], theirs[1], np.stack([theirs[2][name] for name in FIELDS]), np.ones(len(theirs[1])), "second"
    )
    return Panel(*ours, second)


def _sorted(path, names, stocks):
    table = pq.read_table(path).to_pandas().dropna(subset=list(PRICES))
    names = sorted(table["symbol"].unique())[:stocks] if names is None else names
    place = {name: at for at, name in enumerate(names)}
    table = table[table["symbol"].isin(place)]
    o, h, low, c = (table[name] for name in PRICES)
    table = table[(low > 0) & (h >= np.maximum(o, c)) & (low <= np.minimum(o, c))]
    index = table["symbol"].map(place).to_numpy(np.int32)
    session = table["date"].to_numpy().astype("datetime64[D]")
    order = np.lexsort((session, index))
    values = {name: table[name].to_numpy(np.float64)[order] for name in FIELDS}
    return (index[order], session[order], values), names


@dataclass
class Injection:
    """Bars with faults: which rows are wrong, and which belong to one fault."""

    values: dict[str, np.ndarray]
    faults: list[np.ndarray] = field(default_factory=list)
    text: np.ndarray | None = None

    def wrong(self) -> np.ndarray:
        return np.concatenate(self.faults)


def _places(panel: Panel, rng: np.random.Generator, count: int, longest: int) -> list[np.ndarray]:
    """Return stretches of rows of one stock each, of 1 to `longest` bars, at least five bars apart, anywhere."""
    taken = np.zeros(len(panel.session) + 80, bool)
    found: list[np.ndarray] = []
    while len(found) < count:
        start, length = int(rng.integers(len(panel.session))), int(rng.integers(1, longest + 1))
        end = start + length
        if end > len(panel.session) or panel.index[start] != panel.index[end - 1]:
            continue
        if taken[max(0, start - 5) : end + 5].any():
            continue
        taken[start:end] = True
        found.append(np.arange(start, end))
    return found


def hundredfold(panel: Panel, seed: int, count: int) -> Injection:
    """Whole bars, stretches and single fields, 100 times too high or too low."""
    rng = np.random.default_rng(seed)
    made = Injection(panel.copy())
    for rows in _places(panel, rng, count, 8):
        factor = 100.0 if rng.random() < 0.5 else 0.01
        if rng.random() < 0.4:
            rows = rows[:1]
            names = rng.choice(PRICES, int(rng.integers(1, 4)), replace=False)
        else:
            names = PRICES
        for name in names:
            made.values[name][rows] *= factor
        made.faults.append(rows)
    return made


def split_unit(panel: Panel, seed: int, count: int) -> Injection:
    """Stretches of 1 to 20 bars whose split was not applied or applied twice: prices and volumes."""
    rng = np.random.default_rng(seed)
    made = Injection(panel.copy())
    for rows in _places(panel, rng, count, 20):
        ratio = float(rng.choice(RATIOS))
        ratio = ratio if rng.random() < 0.5 else 1 / ratio
        for name in PRICES:
            made.values[name][rows] *= ratio
        made.values["volume"][rows] /= ratio
        made.faults.append(rows)
    return made


def zeroed(panel: Panel, seed: int, count: int) -> Injection:
    """Some or all prices zero or missing, volume with them now and then."""
    rng = np.random.default_rng(seed)
    made = Injection(panel.copy())
    for rows in _places(panel, rng, count, 3):
        names = PRICES if rng.random() < 0.5 else rng.choice(PRICES, int(rng.integers(1, 4)), replace=False)
        for name in names:
            made.values[name][rows] = 0.0 if rng.random() < 0.7 else np.nan
        if len(names) == len(PRICES) and rng.random() < 0.5:
            made.values["volume"][rows] = 0.0
        made.faults.append(rows)
    return made


def stale(panel: Panel, seed: int, count: int) -> Injection:
    """Stretches of 1 to 5 bars that repeat the close before them without volume, or the whole bar before them."""
    rng = np.random.default_rng(seed)
    made = Injection(panel.copy())
    for rows in _places(panel, rng, count, 5):
        if rows[0] == 0 or panel.index[rows[0] - 1] != panel.index[rows[0]]:
            rows = rows + 1
        before = rows[0] - 1
        whole = rng.random() < 0.5
        for name in PRICES:
            made.values[name][rows] = panel.values[name if whole else "close"][before]
        made.values["volume"][rows] = panel.values["volume"][before] if whole else 0.0
        made.faults.append(rows)
    return made


def junk(panel: Panel, seed: int, count: int) -> Injection:
    """Cells whose digits are whole, dressed in text; and, in a tenth of the rows, words in place of all prices."""
    rng = np.random.default_rng(seed)
    made = Injection(panel.copy(), text=np.zeros(len(panel.session), bool))
    assert made.text is not None
    for rows in _places(panel, rng, count, 1):
        row = int(rows[0])
        cells = {name: repr(float(panel.values[name][row])) for name in FIELDS}
        if rng.random() < 0.1:
            cells |= dict.fromkeys(PRICES, str(rng.choice(["halted", "see note", '{"error": "Invalid cookie"}'])))
        else:
            for name in rng.choice(FIELDS, int(rng.integers(1, 6)), replace=False):
                cells[name] = str(rng.choice(DRESSES)).format(x=float(panel.values[name][row]), s=cells[name])
        read = read_bar(cells)
        assert read is not None
        for name, number in zip(FIELDS, read, strict=True):
            made.values[name][row] = np.nan if number is None else number
        made.text[row] = True
        made.faults.append(rows)
    return made


# A number in the clothes of files that people and programs write; `x` the number, `s` its shortest digits.
DRESSES = ("${s}", "{s} USD", "{x:,.6f}", "\u00a0{s}\u00a0", "{s}*", "'{s}'", "USD {s}", "{s} (a)", "{s}\x00")


@dataclass
class Score:
    """How findings at or above a confidence fare: rows repaired, of them right, faulty rows, of them repaired right."""

    repaired: int
    right: int
    faulty: int
    mended: int
    untouched_changed: int
    withheld: int

    @property
    def precision(self) -> float:
        return self.right / self.repaired if self.repaired else 1.0

    @property
    def recall(self) -> float:
        return self.mended / self.faulty


def score(panel: Panel, made: Injection, known: set[int], tolerance: float, at_least: float = 0.9) -> Score:
    """Repair the bars and compare with the truth; a repair is right where all its numbers are within `tolerance` of it.

    `known` are rows found at fault, however surely, before anything was put in (placeholders of days without trade);
    they count as neither right nor wrong. A volume that
    comes from the second source is that source's, and not compared.
    """
    found = find_repairs(panel.rows(made.values), text=made.text, second=panel.second)
    wrong = np.zeros(len(panel.session), bool)
    wrong[made.wrong()] = True
    sure = [f for f in found if f.confidence >= at_least and (wrong[f.row] or f.row not in known)]
    repairs = [f for f in sure if f.repaired is not None]
    right = mended = 0
    for f in repairs:
        names = FIELDS if "second_source" not in f.evidence else PRICES
        truth = [panel.values[name][f.row] for name in names]
        assert f.repaired is not None
        good = bool(np.allclose(f.repaired[: len(names)], truth, rtol=tolerance, atol=0))
        right += good
        mended += good and bool(wrong[f.row])
    changed = sum(not wrong[f.row] for f in sure)
    return Score(len(repairs), right, int(wrong.sum()), mended, changed, len(sure) - len(repairs))

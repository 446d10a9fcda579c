"""Panels for the tests: real daily bars, and ragged ones that hypothesis draws."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
from hypothesis import strategies as st

from quantmatrix_pipeline.indicators.catalogue import COLUMN_INDEX, ENGINE_COLUMNS
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline_tests.shared_data import shared_data

Floats = npt.NDArray[np.float64]
FIELDS = ("open", "high", "low", "close", "volume")
SPLITS = (2.0, 3.0, 7.0, 1.5, 0.1, 0.125)  # new shares for an old one


@cache
def real_panel(symbols: int, missing: float = 0.0) -> Panel:
    """The first symbols by name of the shared daily bars, less a seeded share of the rows."""
    table = pq.read_table(shared_data("daily", "us_daily_2015_2021.parquet")).sort_by(
        [("symbol", "ascending"), ("date", "ascending")]
    )
    name = table["symbol"].combine_chunks().dictionary_encode().indices.to_numpy()
    keep = (name < symbols) & (np.random.default_rng(7).random(len(name)) >= missing)
    columns = {field: table[field].to_numpy()[keep].astype(float) for field in FIELDS}
    return Panel.from_rows(name[keep], table["date"].to_numpy()[keep].astype("datetime64[D]"), **columns)


@cache
def named_panel(*symbols: str) -> Panel:
    """The shared daily bars of these symbols from 2015 on, instruments in the order of the names; SPY is one."""
    tables = [
        pq.read_table(shared_data("daily", file), columns=["symbol", "date", *FIELDS]).to_pandas()
        for file in ("us_daily_2015_2021.parquet", "benchmarks_1990_2021.parquet")
    ]
    rows = pd.concat(tables).assign(date=lambda r: r["date"].to_numpy().astype("datetime64[D]"))
    rows = rows[rows["symbol"].isin(symbols) & (rows["date"] >= "2015-01-01")].sort_values(["symbol", "date"])
    ids = np.searchsorted(sorted(symbols), rows["symbol"]).astype(np.int32)
    columns = {field: rows[field].to_numpy(float) for field in FIELDS}
    return Panel.from_rows(ids, rows["date"].to_numpy().astype("datetime64[D]"), **columns)


def all_of(*parts: str) -> list[Panel]:
    """All symbols of a file of the shared data, up to a hundred to a panel: an output of all of them is large."""
    table = pq.read_table(shared_data(*parts), columns=["symbol", "date", *FIELDS]).to_pandas()
    table = table.dropna().sort_values(["symbol", "date"])
    panels = []
    names = table["symbol"].unique()
    for first in range(0, len(names), 100):
        rows = table[table["symbol"].isin(names[first : first + 100])]
        ids, _ = pd.factorize(rows["symbol"])
        columns = {field: rows[field].to_numpy(float) for field in FIELDS}
        panels.append(Panel.from_rows(ids.astype(np.int32), rows["date"].to_numpy().astype("datetime64[D]"), **columns))
    return panels


def with_splits(panel: Panel, splits: dict[int, list[tuple[int, float]]]) -> Panel:
    """The same panel had these instruments split: from each bar on there are so many shares for one before it.

    What was traded is put back into the first share's unit as the engine's callers do it, so that equal prices on both
    sides of a split may differ in their last bit.
    """
    unit = panel.unit.copy()
    for instrument, own in splits.items():
        for bar, ratio in own:
            unit[bar : panel.length[instrument], instrument] *= ratio
    prices = {field: getattr(panel, field) / unit * unit for field in FIELDS[:4]}
    return replace(panel, unit=unit, volume=panel.volume * unit / unit, **prices)


def known_at(panel: Panel, session: np.datetime64) -> Panel:
    """The panel of what had traded by a session, that day included; who had not yet is not in it."""
    bars = (panel.session <= session).sum(axis=0)
    begun = np.flatnonzero(bars)
    at = np.concatenate([np.arange(n) for n in bars[begun]]), np.repeat(begun, bars[begun])
    fields = {field: getattr(panel, field)[at] for field in (*FIELDS, "unit")}
    earlier = Panel.from_rows(panel.instrument_ids[at[1]], panel.session[at], **fields)
    sector = None if panel.sector is None else panel.sector[begun]
    return replace(earlier, sector=sector, stage_rules=panel.stage_rules)


def series(panel: Panel, instrument: int) -> tuple[Floats, Floats, Floats]:
    """High, low and close of one instrument, as contiguous vectors."""
    bars = panel.length[instrument]
    high, low, close = (getattr(panel, field)[:bars, instrument].copy() for field in ("high", "low", "close"))
    return high, low, close


def column(values: Floats, name: str, instrument: int, panel: Panel) -> Floats:
    """One column of one instrument's rows, in the unit of its first share, as the panel's prices and volumes are."""
    own = values[: panel.length[instrument], COLUMN_INDEX[name], instrument]
    unit = panel.unit[: panel.length[instrument], instrument]
    declared = ENGINE_COLUMNS[COLUMN_INDEX[name]]
    return own * unit if declared.level else own / unit if declared.shares else own


def same_bits(left: Floats, right: Floats) -> bool:
    """Equal to the last bit, whatever the sign of a NaN."""
    return left.shape == right.shape and bool(np.array_equal(left, right, equal_nan=True))


def bars(rng: np.random.Generator, length: int, scale: float, tick: float, flat: float) -> dict[str, Floats]:
    """Walk at random in ticks, which tie often where coarse; `flat` is the chance that a bar repeats the last close."""
    steps = rng.normal(0, 0.02, length)
    still = rng.random(length) < flat
    still |= np.repeat(rng.random(length // 25 + 1) < flat, 25)[:length]  # whole stretches without a trade
    steps[still] = 0.0
    ticks = np.maximum(np.round(np.exp(np.cumsum(steps)) / tick), 2.0)
    opening = np.concatenate((ticks[:1], ticks[:-1]))
    reach = np.where(still, 0, rng.integers(0, 4, (2, length)))
    high = np.maximum(opening, ticks) + reach[0]
    low = np.maximum(np.minimum(opening, ticks) - reach[1], 1.0)
    unit = scale * tick
    return {"open": opening * unit, "high": high * unit, "low": low * unit, "close": ticks * unit}


@st.composite
def ragged_panels(draw: st.DrawFn, most_bars: int = 330) -> Panel:
    """Up to five instruments of very different length, price and liveliness, with splits and missing sessions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = draw(st.lists(st.integers(1, most_bars), min_size=1, max_size=5))
    ids, sessions, pieces = [], [], []
    for instrument, length in enumerate(lengths):
        scale = draw(st.sampled_from([1e-4, 0.01, 1.0, 37.25, 1e4, 1e8]))
        tick = draw(st.sampled_from([1e-6, 1e-4, 0.01]))
        pieces.append(bars(rng, length, scale, tick, draw(st.sampled_from([0.0, 0.2, 0.9]))))
        days = np.sort(rng.choice(np.arange(2 * length + 5), length, replace=False))
        sessions.append(np.busday_offset("2015-01-01", days, roll="forward"))
        ids.append(np.full(length, instrument, np.int32))
    fields = {field: np.concatenate([piece[field] for piece in pieces]) for field in pieces[0]}
    volume = rng.integers(0, 4, len(fields["close"])) * rng.choice([0.25, 100.0, 1e6])  # some bars without any
    panel = Panel.from_rows(np.concatenate(ids), np.concatenate(sessions), **fields, volume=volume)
    split = st.tuples(st.integers(0, most_bars - 1), st.sampled_from(SPLITS))
    return with_splits(panel, {k: draw(st.lists(split, max_size=2)) for k in range(panel.width)})

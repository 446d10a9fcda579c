"""Nights one by one and one run over their sessions record the same bits, on real bars with holes and splits."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from dagster import DagsterInstance

from quantmatrix_pipeline.indicators.catalogue import COLUMNS
from quantmatrix_pipeline.snapshots.rows import COLUMN_NAMES
from quantmatrix_pipeline.warehouse import migrations
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, sessions
from quantmatrix_pipeline_tests.shared_data import shared_data

NIGHTS = sessions("2021-12-31", 60)
SPLIT = NIGHTS[-6]
SYMBOLS = ("AAPL", "AMZN", "GE", "GOOGL", "JPM", "KO", "MSFT", "NVDA", "TSLA", "WMT", "XOM")
HOLES = 0.01
# One 7-for-1 before the nights and one 3-for-2 among them, neither a power of two: what a split could shift by
# one unit in the last place it would shift here.
SPLITS = f"symbol,ex_date,ratio\nKO,2020-03-02,7\nJPM,{SPLIT},3/2\n"


def real_bars() -> pd.DataFrame:
    """Five years of eleven stocks and SPY, one row in a hundred removed, as if they were raw with the splits above."""
    stocks = pd.read_parquet(shared_data("daily", "us_daily_2015_2021.parquet"))
    stocks = stocks[stocks["symbol"].isin(SYMBOLS)]
    funds = pd.read_parquet(shared_data("daily", "benchmarks_1990_2021.parquet"))
    funds = funds[funds["symbol"] == "SPY"]
    columns = ["symbol", "date", "open", "high", "low", "close", "volume"]
    bars = pd.concat([stocks[columns], funds[columns]])
    bars["date"] = pd.to_datetime(bars["date"]).dt.date
    bars = bars[bars["date"] >= date(2017, 1, 3)].reset_index(drop=True)
    for symbol, ratio, until in (("KO", 7.0, date(2020, 3, 2)), ("JPM", 1.5, SPLIT)):
        before = (bars["symbol"] == symbol) & (bars["date"] < until)
        bars.loc[before, ["open", "high", "low", "close"]] *= ratio
    return bars[np.random.default_rng(60).random(len(bars)) >= HOLES]


def recorded(warehouse: Warehouse, first: date) -> pd.DataFrame:
    columns = ", ".join(f"h.{name}" for name in ("session", "revision", "close", *COLUMN_NAMES))
    table = warehouse.arrow_table(
        f"SELECT s.symbol, {columns} FROM market_analysis_history h JOIN instrument_symbols s USING (instrument_id)"
        f" WHERE h.session >= '{first}' ORDER BY s.symbol, h.session, h.revision"
    )
    return table.to_pandas()


def breadth(warehouse: Warehouse) -> pd.DataFrame:
    return warehouse.arrow_table("SELECT * FROM market_breadth ORDER BY session").to_pandas().drop(columns="as_of")


@pytest.mark.timeout(900)  # whole nights, each with all of the chain's checks
@pytest.mark.parametrize("count", [12, pytest.param(60, marks=pytest.mark.slow)])
def test_nights_one_by_one_record_the_bits_of_one_range_run(
    chain: Chain,
    folder: Folder,
    warehouse: Warehouse,
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    nights = NIGHTS[-count:]
    monkeypatch.setenv("QM_HISTORY_SESSIONS", "1260")
    monkeypatch.setenv("POLICY_CONSTITUENTS", "fmp")  # without its key: nobody is asked for members, night after night
    folder.write(real_bars(), splits=SPLITS)
    for night in nights:
        done = chain.run(night)
        assert done.success, (night, done.errors)
    nightly, nightly_breadth = recorded(warehouse, nights[0]), breadth(warehouse)

    migrations.apply(empty_database_url, migrations.folder())
    monkeypatch.setenv("QM_DATABASE_URL", empty_database_url)
    with DagsterInstance.ephemeral() as instance:
        at_once = Chain(instance).run(nights[0], nights[-1])
    assert at_once.success, at_once.errors
    second = Warehouse(empty_database_url)
    try:
        ranged, ranged_breadth = recorded(second, nights[0]), breadth(second)
    finally:
        second.close()
    assert len(nightly) > 12 * count * 0.97
    assert (nightly["revision"] == 1).all()
    in_sectors = nightly.columns.str.endswith("_sector_rank")  # no file says of what sector these stocks are
    assert nightly.loc[:, in_sectors].isna().all().all()
    assert nightly.loc[:, ~in_sectors].notna().all().all(), (
        "with five years behind it no indicator, EMA200 least, is empty"
    )
    pd.testing.assert_frame_equal(nightly, ranged, check_exact=True)
    floats = nightly.select_dtypes("float64").columns
    assert len(floats) == 1 + sum(column.kind == "float" for column in COLUMNS)
    assert nightly[floats].to_numpy().tobytes() == ranged[floats].to_numpy().tobytes(), (
        "the same bits, signs of zero too"
    )
    assert nightly_breadth["session"].tolist() == nights
    assert nightly_breadth["instruments"].between(8, len(SYMBOLS)).all(), "the stocks without the benchmark"
    pd.testing.assert_frame_equal(nightly_breadth, ranged_breadth, check_exact=True)

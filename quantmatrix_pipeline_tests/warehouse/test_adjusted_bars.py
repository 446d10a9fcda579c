"""Adjusted series out of stored bars, in SQL and in columns: the same numbers, and those that a vendor publishes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from quantmatrix_pipeline.bars.adjustment import Adjust
from quantmatrix_pipeline.bars.dividends import Convention
from quantmatrix_pipeline.bars.series import OHLC, Wanted, series
from quantmatrix_pipeline.warehouse import actions, bars, instruments
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.shared_data import shared_data

NOW = datetime(2026, 4, 1, tzinfo=UTC)
ADJUSTED_TO = date(2024, 12, 31)


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


@pytest.fixture
def published() -> pd.DataFrame:
    """Two splits and 24 dividends: raw and adjusted prices as one vendor publishes them side by side."""
    table = pd.read_parquet(shared_data("raw_and_actions", "raw_adjusted_dividends_splits.parquet"))
    return table[table["symbol"].isin(["AVGO", "IBKR", "AAPL"])].sort_values(["symbol", "date"], ignore_index=True)


def action(instrument_id: int, kind: str, ex_date: date, **content: object) -> dict[str, object]:
    nothing = dict.fromkeys(("numerator", "denominator", "amount", "currency"))
    common = {"instrument_id": instrument_id, "kind": kind, "ex_date": ex_date}
    return {**nothing, **common, "vendor": "files", "as_of": NOW, **content}


def store(warehouse: Warehouse, table: pd.DataFrame, basis: str = "raw", basis_date: date | None = None) -> None:
    """Store bars as a source of some basis gave them, and the actions that stand beside them."""
    ids = instruments.ensure(warehouse, sorted(set(table["symbol"])))
    known = []
    for row in table[(table["splitfactor"] != 1) | (table["divcash"] > 0)].itertuples():
        if row.splitfactor != 1:
            ratio = Fraction(str(row.splitfactor))
            parts = {"numerator": ratio.numerator, "denominator": ratio.denominator}
            known.append(action(ids[row.symbol], "split", row.date, **parts))
        if row.divcash > 0:
            amount = {"amount": repr(row.divcash), "currency": "USD"}
            known.append(action(ids[row.symbol], "cash_dividend", row.date, **amount))
    own = table["symbol"].map(ids).to_numpy(np.int32)
    session = pd.to_datetime(table["date"]).to_numpy().astype("datetime64[D]")
    columns = {"instrument_id": pa.array(own), "session": pa.array(session, pa.date32())}
    columns |= {name: pa.array(table[name].to_numpy(float)) for name in (*OHLC, "volume")}
    count = len(table)
    columns |= {"quality_score": pa.array(np.ones(count)), "validated": pa.array(np.ones(count, bool))}
    columns |= dict.fromkeys(("gap_detected", "volume_anomaly"), pa.array(np.zeros(count, bool)))
    source = bars.source_id(warehouse, "files", basis, basis_date)
    columns["source_id"] = pa.array(np.full(count, source), pa.int16())
    order = np.lexsort((session, own))
    with warehouse.arrow() as transaction:
        bars.write_daily(transaction, pa.table(columns).take(pa.array(order)), NOW)
        actions.write_actions(transaction, known)


def by_sql(warehouse: Warehouse, symbol: str, adjust: str, convention: str = "previous_close") -> pd.DataFrame:
    rows = warehouse.rows(
        "SELECT * FROM adjusted_bars(:symbol, :adjust, :convention)",
        symbol=symbol,
        adjust=adjust,
        convention=convention,
    )
    return pd.DataFrame([dict(row._mapping) for row in rows])


def by_columns(warehouse: Warehouse, symbol: str, adjust: Adjust, convention: Convention) -> pd.DataFrame:
    with warehouse.arrow() as transaction:
        stored = bars.read_daily(transaction, instrument_ids=[instruments.ids(warehouse, [symbol])[symbol]])
        splits, dividends = actions.read_splits(transaction), actions.read_dividends(transaction)
    table, refused = series(stored, Wanted(adjust, convention), bars.sources(warehouse), splits, dividends)
    assert refused == []
    return table.to_pandas()


@pytest.mark.parametrize("symbol", ["AAPL", "AVGO", "IBKR"])
def test_ex_close_out_of_the_warehouse_is_what_the_vendor_publishes(
    warehouse: Warehouse, published: pd.DataFrame, symbol: str
) -> None:
    store(warehouse, published)
    own = published[published["symbol"] == symbol].reset_index(drop=True)
    for got in (
        by_sql(warehouse, symbol, "total_return", "ex_close"),
        by_columns(warehouse, symbol, Adjust.TOTAL_RETURN, Convention.EX_CLOSE),
    ):
        assert len(got) == len(own)
        for name in OHLC:
            np.testing.assert_allclose(got[name], own[f"adj{name}"], rtol=1e-9)
        np.testing.assert_allclose(got["close"], own["close"] * got["factor"], rtol=1e-15)
        np.testing.assert_allclose(got["volume"], own["adjvolume"], atol=1)  # whole shares there


@pytest.mark.parametrize("convention", list(Convention))
@pytest.mark.parametrize("adjust", list(Adjust))
def test_sql_and_columns_give_the_same_series(
    warehouse: Warehouse, published: pd.DataFrame, adjust: Adjust, convention: Convention
) -> None:
    store(warehouse, published)
    sql = by_sql(warehouse, "AVGO", adjust, convention)
    columns = by_columns(warehouse, "AVGO", adjust, convention)
    for name in (*OHLC, "volume", "factor", "volume_factor"):
        np.testing.assert_allclose(sql[name], columns[name], rtol=1e-14)


@pytest.mark.parametrize("convention", list(Convention))
@pytest.mark.parametrize("basis", ["split", "split_dividend"])
def test_only_actions_after_the_date_of_a_stored_basis_are_applied(
    warehouse: Warehouse, published: pd.DataFrame, basis: str, convention: Convention
) -> None:
    """The same prices, adjusted by their source up to a day in the middle, lead to the same series."""
    store(warehouse, published[published["symbol"] == "AVGO"])
    raw = by_columns(warehouse, "AVGO", Adjust.TOTAL_RETURN, convention)
    adjust = Adjust.SPLIT if basis == "split" else Adjust.TOTAL_RETURN
    partly = published[published["symbol"] == "AVGO"].assign(symbol="PART")
    cut = partly["date"] <= ADJUSTED_TO
    # What a source had made of the first months on that day: the series that ended there.
    store(warehouse, partly[cut].assign(symbol="THEN"))
    then = by_columns(warehouse, "THEN", adjust, convention)
    for name in (*OHLC, "volume"):
        partly.loc[cut, name] = then[name].to_numpy()
    store(warehouse, partly, basis, ADJUSTED_TO)
    for got in (
        by_columns(warehouse, "PART", Adjust.TOTAL_RETURN, convention),
        by_sql(warehouse, "PART", "total_return", convention),
    ):
        for name in (*OHLC, "volume"):
            np.testing.assert_allclose(got[name], raw[name], rtol=1e-12)
    assert len(set(by_columns(warehouse, "PART", Adjust.SPLIT, convention)["factor"])) == 1, (
        "its one split is contained"
    )


def test_a_dividend_that_no_factor_can_be_made_of_changes_nothing(
    warehouse: Warehouse, published: pd.DataFrame
) -> None:
    table = published[published["symbol"] == "AAPL"].reset_index(drop=True)
    store(warehouse, table)
    before = by_sql(warehouse, "AAPL", "total_return")
    known = instruments.ids(warehouse, ["AAPL"])["AAPL"]
    wrong = action(known, "cash_dividend", table["date"][100], amount="1000", currency="USD")
    foreign = action(known, "cash_dividend", table["date"][101], amount="1", currency="EUR")
    with warehouse.arrow() as transaction:
        actions.write_actions(transaction, [wrong, foreign])
        stored = bars.read_daily(transaction, instrument_ids=[known])
        splits, dividends = actions.read_splits(transaction), actions.read_dividends(transaction)
    pd.testing.assert_frame_equal(by_sql(warehouse, "AAPL", "total_return"), before)
    wanted = Wanted(Adjust.TOTAL_RETURN)
    columns, (refused,) = series(stored, wanted, bars.sources(warehouse), splits, dividends)
    np.testing.assert_allclose(columns["close"].to_numpy(), before["close"], rtol=1e-14)
    assert (refused.ex_date, refused.amount, refused.close) == (table["date"][100], 1000.0, table["close"][99])


def test_the_function_refuses_what_it_does_not_know(warehouse: Warehouse, published: pd.DataFrame) -> None:
    store(warehouse, published[published["symbol"] == "AAPL"], "split", ADJUSTED_TO)
    for arguments, told in (
        ("'AAPL', 'raw'", "prices as traded are not known"),
        ("'AAPL', 'all'", "adjust is raw, split or total_return, not all"),
        ("'AAPL', 'split', 'mean'", "convention is previous_close or ex_close"),
        ("'NOBODY'", "no instrument bears the symbol NOBODY"),
    ):
        with pytest.raises(sa.exc.DBAPIError, match=told):
            warehouse.rows(f"SELECT * FROM adjusted_bars({arguments})")

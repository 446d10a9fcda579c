"""The shape of what a source hands over: sound answers pass, misread ones are refused with all that is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from quantmatrix_pipeline.bars.batch import FIELDS, BarBatch
from quantmatrix_pipeline.bars.schema import check_batch, check_table
from quantmatrix_pipeline.errors import MalformedResponse
from quantmatrix_pipeline_tests.shared_data import shared_data

PRICES = np.array([10.0, np.nan, -1.0])
BATCH = BarBatch(
    symbols=("AAPL", "BRK.B"),
    symbol_index=np.array([0, 1, 1], np.int32),
    session=np.array(["2021-12-30", "2021-12-30", "2021-12-25"], "datetime64[D]"),
    open=PRICES,
    high=PRICES,
    low=PRICES,
    close=PRICES,
    volume=PRICES,
)
TABLE = pd.DataFrame(
    {
        "symbol": ["AAPL", "BRK.B"],
        "date": pd.to_datetime(["2021-12-30", None]),
        **{name: [1.0, np.nan] for name in FIELDS},
        "adj_close": ["anything", "else"],
    }
)


def refusal(batch: BarBatch) -> str:
    with pytest.raises(MalformedResponse) as caught:
        check_batch(batch, "yfinance")
    assert caught.value.vendor == "yfinance"
    return str(caught.value)


def test_missing_and_absurd_prices_and_holidays_are_left_to_the_rules() -> None:
    check_batch(BATCH, "yfinance")
    check_batch(BarBatch.empty(), "yfinance")


def test_all_wrong_columns_of_a_batch_are_named_in_one_message() -> None:
    message = refusal(
        replace(
            BATCH,
            symbols=("AAPL", "AAPL"),
            session=BATCH.session.astype("datetime64[ns]"),
            open=BATCH.open.astype(np.float32),
            volume=np.ones((3, 1)),
        )
    )
    for part in ("session: 1-dimensional array of datetime64[ns]", "open", "float32", "volume: 2-", "['AAPL'] stand"):
        assert part in message


def test_columns_of_unequal_length_are_refused() -> None:
    assert "'close': 2" in refusal(replace(BATCH, close=PRICES[:2]))


def test_a_missing_session_is_refused_with_its_row() -> None:
    session = BATCH.session.copy()
    session[1] = np.datetime64("NaT")
    message = refusal(replace(BATCH, session=session))
    assert "session" in message
    assert "1 rows, first 1" in message


@pytest.mark.parametrize("index", [-1, 2])
def test_a_row_that_refers_to_no_symbol_is_refused(index: int) -> None:
    message = refusal(replace(BATCH, symbol_index=np.array([0, 1, index], np.int32)))
    assert "symbol_index" in message
    assert str(index) in message


def test_a_table_may_hold_further_columns_and_missing_values() -> None:
    check_table(TABLE, "files", "daily.csv")
    check_table(TABLE.astype({"symbol": object, "date": "datetime64[ns]"}), "files", "daily.csv")


def test_a_misread_table_is_refused_with_its_origin_and_every_fault() -> None:
    table = TABLE.drop(columns="volume").assign(symbol=["AAPL", ""], high=["10", "eleven"])
    with pytest.raises(MalformedResponse) as caught:
        check_table(table, "files", "daily.csv")
    message = str(caught.value)
    for part in ("files: daily.csv", "volume", "symbol: str_length", "high: dtype('float64')", "first 1"):
        assert part in message


def test_real_bars_have_the_declared_shape() -> None:
    table = pd.read_parquet(shared_data("bad_rows", "rule_violations.parquet"))
    check_table(table.assign(date=pd.to_datetime(table.date)), "files", "rule_violations.parquet")

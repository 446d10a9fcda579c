"""Column types as real writers leave them, and numbers to the last bit."""

from __future__ import annotations

import io
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.providers.vendors.files.tables import Table, read_table
from quantmatrix_pipeline_tests.unit.providers.vendors.folders import HEADER

SOUND: dict[str, Any] = {
    "symbol": ["A", "B"],
    "date": [date(2021, 1, 4), date(2021, 1, 5)],
    **{n: [1.0, 2.0] for n in ("open", "high", "low", "close", "volume")},
}


def parquet(tmp_path: Path, **columns: Any) -> Table:
    pq.write_table(pa.table(SOUND | columns), tmp_path / "bars.parquet")
    return read_table(tmp_path / "bars.parquet")


def csv(tmp_path: Path, text: str | bytes) -> Table:
    path = tmp_path / "bars.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path)


@pytest.mark.parametrize(
    "dates",
    [
        pa.array([datetime(2021, 1, 4), datetime(2021, 1, 5)], pa.timestamp("ns")),  # noqa: DTZ001 - naive on purpose
        # Midnight of New York is five in the morning in UTC, and eleven at night of the day before is not its session.
        pa.array(
            [datetime(2021, 1, 4, 5, tzinfo=UTC), datetime(2021, 1, 6, 4, tzinfo=UTC)],
            pa.timestamp("us", tz="America/New_York"),
        ),
        pa.array(["2021-01-04", "2021-01-05T00:00:00-05:00"], pa.large_string()),
        pa.array(["2021-01-04", "2021-01-05"]).dictionary_encode(),
        pa.array([date(2021, 1, 4), date(2021, 1, 5)], pa.date64()),
    ],
    ids=["timestamp", "in a zone", "text", "dictionary", "date64"],
)
def test_a_date_is_read_from_every_type_that_holds_one(tmp_path: Path, dates: pa.Array) -> None:
    assert parquet(tmp_path, date=dates).bars.session.tolist() == [date(2021, 1, 4), date(2021, 1, 5)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([3, None], pa.int64()), [3, None]),
        (pa.array([1.5, 2.5], pa.float32()), [1.5, 2.5]),
        (pa.array([Decimal("1.25"), Decimal("2.50")]), [1.25, 2.5]),
        (pa.array(["1.25", " 2.5e1 "]), [1.25, 25]),
        (pa.array([None, None], pa.null()), [None, None]),
    ],
)
def test_a_number_is_read_from_every_type_that_holds_one(
    tmp_path: Path, values: pa.Array, expected: list[float | None]
) -> None:
    table = parquet(tmp_path, close=values)
    assert [None if math.isnan(c) else c for c in table.bars.close] == expected
    assert table.unreadable == ()


@pytest.mark.parametrize(("column", "values"), [("close", [True, False]), ("date", [20210104, 20210105])])
def test_a_column_of_another_type_is_a_wrong_layout(tmp_path: Path, column: str, values: list[Any]) -> None:
    with pytest.raises(ConfigurationError, match=rf"bars\.parquet: row 1, column '{column}'"):
        parquet(tmp_path, **{column: values})


def test_a_null_symbol_names_nobody_and_its_row_is_handed_on(tmp_path: Path) -> None:
    table = parquet(tmp_path, symbol=["A", None])
    assert table.bars.symbols == ("A",)
    assert len(table.bars) == 1
    assert [(r.reason, r.payload["row"], r.symbol) for r in table.unreadable] == [("bad_symbol", 2, None)]


def test_two_spellings_are_one_symbol(tmp_path: Path) -> None:
    assert parquet(tmp_path, symbol=["BRK-B", "brk.b"]).bars.symbols == ("BRK.B",)


def test_windows_line_ends_a_byte_order_mark_and_foreign_letters_are_no_fault(tmp_path: Path) -> None:
    lines = [HEADER + ",name", 'A,2021-01-04,1,2,0.5,1.5,1,"Nestl\xe9, S.A."', "A,2021-01-05,1,2,0.5,1.6,1,x", ""]
    latin = csv(tmp_path, "\r\n".join(lines).encode("latin-1"))
    marked = csv(tmp_path, "\r\n".join(lines).encode("utf-8-sig"))
    for table in (latin, marked):
        assert table.bars.close.tolist() == [1.5, 1.6]
        assert table.unreadable == ()


@settings(max_examples=50)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20), st.booleans())
def test_numbers_come_out_of_a_csv_to_the_last_bit_also_beside_odd_cells(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], odd: bool
) -> None:
    text = io.StringIO()
    text.write(HEADER + "\n")
    for value in values:
        text.write(f"A,2021-01-04,1,2,0.5,{value!r},1\n")
    if odd:
        text.write("A,2021-01-04,1,2,0.5,1_0,1\n")
    table = csv(tmp_path_factory.mktemp("numbers"), text.getvalue())
    assert table.bars.close.tolist() == values
    assert [r.payload["close"] for r in table.unreadable] == ["1_0"] * odd

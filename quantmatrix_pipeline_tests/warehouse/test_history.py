"""The history gets a revision only where numbers differ; snapshots never go back in time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.warehouse import history, instruments
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.history import HistoryCounts

T0 = datetime(2021, 12, 1, 22, tzinfo=UTC)
FIRST, SECOND = date(2021, 12, 30), date(2022, 1, 3)  # on both sides of a partition's edge


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


def row(instrument: int = 1, session: date = FIRST, **values: Any) -> dict[str, Any]:
    blank = {"instrument_id": instrument, "session": session, "close": 10.0}
    return blank | {"rsi": None, "ma_aligned": None, "td_buy_setup": None, "ma_bucket": "UNKNOWN"} | values


SCHEMA = pa.schema(
    [
        ("instrument_id", pa.int32()),
        ("session", pa.date32()),
        ("close", pa.float64()),
        ("rsi", pa.float64()),
        ("ma_aligned", pa.bool_()),
        ("td_buy_setup", pa.int16()),
        ("ma_bucket", pa.string()),
    ]
)


def record(warehouse: Warehouse, *rows: dict[str, Any], at: datetime = T0) -> HistoryCounts:
    first, last = min(r["session"] for r in rows), max(r["session"] for r in rows)
    data = pa.Table.from_pylist(list(rows), SCHEMA)
    history.make_partitions(warehouse, first, last)
    with warehouse.arrow() as transaction:
        transaction.lock("history")
        if not history.holds_rows(transaction, first, last):
            return history.record_first(transaction, iter([data]), at)
        values = [name for name in SCHEMA.names if name not in history.KEYS]
        stored = history.RecordedRows(transaction, {r["instrument_id"] for r in rows}, first, last, values)
        return history.record(transaction, data, stored, at)


def test_the_same_numbers_are_recorded_once_null_and_label_and_flag_among_them(warehouse: Warehouse) -> None:
    rows = [row(1), row(2, rsi=55.0, ma_aligned=True, ma_bucket="LEADING"), row(1, SECOND, rsi=0.1 + 0.2)]
    assert record(warehouse, *rows) == HistoryCounts(3, 0, 0)
    assert record(warehouse, *reversed(rows), at=T0 + timedelta(days=1)) == HistoryCounts(0, 0, 3)
    assert warehouse.scalar("SELECT max(as_of) FROM market_analysis_history") == T0
    years = warehouse.rows("SELECT DISTINCT tableoid::regclass::text AS name FROM market_analysis_history ORDER BY 1")
    assert [year.name for year in years] == ["market_analysis_history_2021", "market_analysis_history_2022"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"rsi": 50.0}, {"rsi": 50.00000000000001}),
        ({"rsi": 50.0}, {"rsi": None}),
        ({"rsi": None}, {"rsi": 50.0}),
        ({"ma_aligned": None}, {"ma_aligned": False}),
        ({"ma_aligned": True}, {"ma_aligned": False}),
        ({"td_buy_setup": None}, {"td_buy_setup": 0}),
        ({"td_buy_setup": 8}, {"td_buy_setup": 9}),
        ({"ma_bucket": "NEUTRAL"}, {"ma_bucket": "LAGGING"}),
        ({"close": 10.0}, {"close": 10.01}),
    ],
)
def test_a_number_that_differs_gets_a_new_revision_and_its_neighbour_none(
    warehouse: Warehouse, before: dict[str, Any], after: dict[str, Any]
) -> None:
    record(warehouse, row(1, **before), row(2))
    assert record(warehouse, row(1, **after), row(2), at=T0 + timedelta(days=1)) == HistoryCounts(0, 1, 1)
    (name,) = after
    stored = warehouse.rows(f"SELECT revision, as_of, {name} FROM market_analysis_history WHERE instrument_id = 1"
                            " ORDER BY revision")  # fmt: skip
    assert [tuple(r) for r in stored] == [(1, T0, before[name]), (2, T0 + timedelta(days=1), after[name])]


values = st.sampled_from([None, 49.5, 50.0])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.dictionaries(st.tuples(st.integers(1, 3), st.sampled_from([FIRST, SECOND])), values, min_size=1),
        min_size=1,
        max_size=5,
    ),
)
def test_revisions_are_the_changes_and_the_newest_is_the_last_recorded(
    warehouse: Warehouse, sequence: list[dict[tuple[int, date], float | None]]
) -> None:
    # The history can't be emptied between examples: each takes instruments of its own.
    base = (int(warehouse.scalar("SELECT coalesce(max(instrument_id), 0) FROM market_analysis_history")) // 10 + 1) * 10
    model: dict[tuple[int, date], list[float | None]] = {}
    for hour, batch in enumerate(sequence):
        rows = [row(base + i, session, rsi=value) for (i, session), value in batch.items()]
        counts = record(warehouse, *rows, at=T0 + timedelta(hours=hour))
        new = {key for key in batch if key not in model}
        changed = {key for key, value in batch.items() if key in model and model[key][-1] != value}
        assert counts == HistoryCounts(len(new), len(changed), len(batch) - len(new) - len(changed))
        for key in new | changed:
            model.setdefault(key, []).append(batch[key])
    stored = warehouse.rows(
        "SELECT instrument_id - :base AS i, session, array_agg(rsi ORDER BY revision) AS rsi,"
        " array_agg(revision ORDER BY revision) AS revisions"
        " FROM market_analysis_history WHERE instrument_id > :base GROUP BY 1, 2",
        base=base,
    )
    assert {(r.i, r.session): list(r.rsi) for r in stored} == model
    assert all(list(r.revisions) == list(range(1, len(r.revisions) + 1)) for r in stored)


@pytest.mark.parametrize(
    ("session", "before", "after", "restated"),
    [
        (FIRST, {"rsi": 50.0}, {"rsi": 60.0}, 0),
        (FIRST, {"rsi": None}, {"rsi": 60.0}, 1),
        (FIRST, {"rsi": 50.0}, {"rsi": 60.0, "close": 11.0}, 1),
        (SECOND, {"rsi": 50.0}, {"rsi": 60.0}, 1),
    ],
)
def test_where_an_instrument_stood_among_others_is_restated_at_the_newest_session_only(
    warehouse: Warehouse, session: date, before: dict[str, Any], after: dict[str, Any], restated: int
) -> None:
    record(warehouse, row(1, session, **before))
    with warehouse.arrow() as transaction:
        values = [name for name in SCHEMA.names if name not in history.KEYS]
        stored = history.RecordedRows(transaction, [1], FIRST, SECOND, values)
        again = pa.Table.from_pylist([row(1, session, **after)], SCHEMA)
        counts = history.record(transaction, again, stored, T0, relative=["rsi"], newest=SECOND)
    assert counts == HistoryCounts(0, restated, 1 - restated)


def snapshot(warehouse: Warehouse, *rows: dict[str, Any], at: datetime = T0) -> int:
    schema = SCHEMA.append(pa.field("expiry_timestamp", pa.timestamp("us", "UTC")))
    data = [r | {"expiry_timestamp": T0} for r in rows]
    with warehouse.arrow() as transaction:
        return history.replace_snapshots(transaction, pa.Table.from_pylist(data, schema), at)


def test_a_snapshot_is_replaced_by_a_newer_session_or_other_numbers_never_by_an_older_session(
    warehouse: Warehouse,
) -> None:
    instruments.ensure(warehouse, ["AAA", "BBB"])
    assert snapshot(warehouse, row(1, SECOND, rsi=50.0), row(2, SECOND, rsi=40.0)) == 2
    assert snapshot(warehouse, row(1, SECOND, rsi=50.0), row(2, SECOND, rsi=None)) == 1
    assert snapshot(warehouse, row(1, FIRST, rsi=1.0), row(2, FIRST, rsi=1.0)) == 0
    assert snapshot(warehouse) == 0
    stored = warehouse.rows("SELECT instrument_id, session, rsi FROM market_analysis_cache ORDER BY 1")
    assert [tuple(s) for s in stored] == [(1, SECOND, 50.0), (2, SECOND, None)]

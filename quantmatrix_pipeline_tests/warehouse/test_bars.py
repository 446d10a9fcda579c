"""Writing daily bars: counts, exact revisions, what was known at any moment, the log and the cursors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.warehouse import actions, fetches, instruments
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse.bars import WriteCounts
from quantmatrix_pipeline.warehouse.engine import Warehouse

T0 = datetime(2021, 12, 1, 22, tzinfo=UTC)
DAYS = [date(2021, 12, d) for d in (1, 2, 3, 6, 7)]
Bar = tuple[int, date, float]  # instrument, session, close


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


@pytest.fixture
def source(warehouse: Warehouse) -> int:
    return tables.source_id(warehouse, "files", "raw", None)


def table(bars: list[Bar], source: int, **columns: Any) -> pa.Table:
    """Bars whose prices are all the close, sorted as the writer takes them."""
    rows = sorted(bars)
    closes = [close for _, _, close in rows]
    data = {
        "instrument_id": pa.array([i for i, _, _ in rows], pa.int32()),
        "session": pa.array([d for _, d, _ in rows], pa.date32()),
        **{name: pa.array(closes, pa.float64()) for name in ("open", "high", "low", "close")},
        "volume": pa.array([1000.0] * len(rows)),
        "quality_score": pa.array([1.0] * len(rows)),
        "validated": pa.array([True] * len(rows)),
        "gap_detected": pa.array([False] * len(rows)),
        "volume_anomaly": pa.array([False] * len(rows)),
        "source_id": pa.array([source] * len(rows), pa.int16()),
    }
    return pa.table(data | {name: pa.array([value] * len(rows)) for name, value in columns.items()})


def write(warehouse: Warehouse, bars: pa.Table, at: datetime = T0, reason: str = "fetched") -> WriteCounts:
    with warehouse.arrow() as transaction:
        return tables.write_daily(transaction, bars, at, reason)


def known_at(warehouse: Warehouse, moment: datetime) -> dict[tuple[int, date], float]:
    rows = warehouse.rows(
        "SELECT instrument_id, session, close FROM price_data_versions"
        " WHERE as_of <= :t AND (superseded_at IS NULL OR superseded_at > :t)",
        t=moment,
    )
    found = {(row.instrument_id, row.session): row.close for row in rows}
    assert len(found) == len(rows), "at each moment a bar has one version"
    return found


def test_new_bars_are_inserted_changed_ones_revised_and_equal_ones_left(warehouse: Warehouse, source: int) -> None:
    assert write(warehouse, table([(1, DAYS[0], 10), (1, DAYS[1], 11)], source)) == WriteCounts(2, 0, 0)
    later = table([(1, DAYS[0], 10), (1, DAYS[1], 12), (1, DAYS[2], 13), (2, DAYS[0], 5)], source)
    assert write(warehouse, later, T0 + timedelta(hours=1)) == WriteCounts(2, 1, 1)
    assert write(warehouse, later, T0 + timedelta(hours=2)) == WriteCounts(0, 0, 4)
    (revision,) = warehouse.rows("SELECT * FROM price_data_revisions")
    assert (revision.close, revision.version, revision.reason) == (11, 1, "fetched")
    assert (revision.as_of, revision.superseded_at) == (T0, T0 + timedelta(hours=1))
    assert warehouse.scalar("SELECT max(as_of) FROM price_data") == T0 + timedelta(hours=1)


@pytest.mark.parametrize(
    "change",
    [
        {"volume": 1000.5},
        {"open": 9.99},
        {"quality_score": 0.9},
        {"validated": False},
        {"gap_detected": True},
        {"volume_anomaly": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_of_any_one_column_is_another_version(
    warehouse: Warehouse, source: int, change: dict[str, Any]
) -> None:
    bar: list[Bar] = [(1, DAYS[0], 10)]
    write(warehouse, table(bar, source))
    changed = (
        table(bar, source, **change)
        if "open" not in change
        else table(bar, source).set_column(2, "open", pa.array([9.99]))
    )
    assert write(warehouse, changed, T0 + timedelta(hours=1)) == WriteCounts(0, 1, 0)
    assert warehouse.scalar("SELECT version FROM price_data") == 2


def test_the_same_bar_from_another_source_is_another_version(warehouse: Warehouse, source: int) -> None:
    other = tables.source_id(warehouse, "yfinance", "split", date(2021, 12, 1))
    assert other != source
    assert tables.source_id(warehouse, "yfinance", "split", date(2021, 12, 1)) == other
    write(warehouse, table([(1, DAYS[0], 10)], source))
    assert write(warehouse, table([(1, DAYS[0], 10)], other), T0 + timedelta(hours=1)).revised == 1
    assert tables.sources(warehouse)[other] == ("yfinance", "split", date(2021, 12, 1))


def test_nothing_is_written_when_the_transaction_fails_after_the_write(warehouse: Warehouse, source: int) -> None:
    write(warehouse, table([(1, DAYS[0], 10)], source))

    def write_and_fail() -> None:
        with warehouse.arrow() as transaction:
            tables.write_daily(transaction, table([(1, DAYS[0], 99), (1, DAYS[1], 11)], source), T0)
            raise RuntimeError("in the middle of it")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_and_fail()
    assert known_at(warehouse, T0) == {(1, DAYS[0]): 10}
    assert warehouse.scalar("SELECT count(*) FROM price_data_revisions") == 0


closes = st.sampled_from([10.0, 10.5, 11.0])
batches = st.lists(
    st.dictionaries(st.tuples(st.integers(1, 3), st.sampled_from(DAYS)), closes, min_size=1, max_size=6),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches)
def test_no_version_is_ever_lost_and_what_was_known_at_a_moment_never_changes(
    warehouse: Warehouse, source: int, sequence: list[dict[tuple[int, date], float]]
) -> None:
    warehouse.execute("TRUNCATE price_data, price_data_revisions, knowledge_clock")
    model: dict[tuple[int, date], float] = {}
    versions = 0
    as_it_was: dict[datetime, dict[tuple[int, date], float]] = {T0 - timedelta(hours=1): {}}
    for hour, batch in enumerate(sequence):
        at = T0 + timedelta(hours=hour)
        expected = WriteCounts(
            sum(key not in model for key in batch),
            sum(key in model and model[key] != close for key, close in batch.items()),
            sum(model.get(key) == close for key, close in batch.items()),
        )
        counts = write(warehouse, table([(i, d, c) for (i, d), c in batch.items()], source), at)
        assert counts == expected
        model |= batch
        versions += counts.inserted + counts.revised
        as_it_was[at] = dict(model)
    for moment, truth in as_it_was.items():
        assert known_at(warehouse, moment) == truth
        assert known_at(warehouse, moment + timedelta(minutes=59)) == truth
    assert warehouse.scalar("SELECT count(*) FROM price_data_versions") == versions
    chains = warehouse.rows("""
        SELECT array_agg(version ORDER BY version) AS versions,
               bool_and(superseded_at IS NOT DISTINCT FROM next_as_of) AS seamless
        FROM (SELECT *, lead(as_of) OVER (PARTITION BY instrument_id, session ORDER BY version) AS next_as_of
              FROM price_data_versions) AS v
        GROUP BY instrument_id, session
    """)
    for chain in chains:
        assert chain.versions == list(range(1, len(chain.versions) + 1))
        assert chain.seamless, "a version holds until the instant at which the next one was learned"


def test_two_concurrent_writers_of_the_same_bars_double_nothing(warehouse: Warehouse, source: int) -> None:
    bars = table([(i, day, 10.0 + i) for i in range(1, 41) for day in DAYS], source)
    start = threading.Barrier(4)
    counts: list[WriteCounts] = []

    def writer() -> None:
        start.wait()
        counts.append(write(warehouse, bars))

    threads = [threading.Thread(target=writer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted((c.inserted, c.unchanged) for c in counts) == [(0, 200)] * 3 + [(200, 0)]
    assert warehouse.scalar("SELECT count(*) FROM price_data_versions") == 200


# --- actions, log and cursors ---------------------------------------------------------------------------------------


def split(instrument_id: int, ex_date: date, numerator: int, at: datetime, vendor: str = "files") -> dict[str, object]:
    return {
        "instrument_id": instrument_id,
        "kind": "split",
        "ex_date": ex_date,
        "numerator": numerator,
        "denominator": 1,
        "vendor": vendor,
        "as_of": at,
    }


def test_actions_are_appended_once_and_new_splits_are_named_by_their_earliest_ex_date(warehouse: Warehouse) -> None:
    ids = instruments.ensure(warehouse, ["AAA", "BBB"])
    a, b = ids["AAA"], ids["BBB"]
    dividend = {
        "instrument_id": b, "kind": "cash_dividend", "ex_date": DAYS[0], "amount": "0.22", "currency": "USD",
        "vendor": "files", "as_of": T0,
    }  # fmt: skip
    first = [split(a, DAYS[2], 2, T0), split(a, DAYS[1], 3, T0), dividend]
    with warehouse.arrow() as transaction:
        assert actions.write_actions(transaction, first) == {a: DAYS[1]}
    with warehouse.arrow() as transaction:
        assert actions.write_actions(transaction, [*first, split(b, DAYS[3], 4, T0)]) == {b: DAYS[3]}
        assert actions.write_actions(transaction, []) == {}
    assert warehouse.scalar("SELECT count(*) FROM corporate_actions") == 4
    assert str(warehouse.scalar("SELECT amount FROM corporate_actions WHERE kind = 'cash_dividend'")) == "0.22"


def test_of_two_ratios_for_one_day_the_one_learned_last_is_in_force_and_both_stay(warehouse: Warehouse) -> None:
    a = instruments.ensure(warehouse, ["AAA"])["AAA"]
    with warehouse.arrow() as transaction:
        actions.write_actions(transaction, [split(a, DAYS[1], 2, T0)])
        actions.write_actions(transaction, [split(a, DAYS[1], 3, T0 + timedelta(days=1), "yfinance")])
        assert actions.read_splits(transaction).to_pylist() == [
            {"instrument_id": a, "ex_date": DAYS[1], "numerator": 3, "denominator": 1}
        ]
    assert warehouse.scalar("SELECT count(*) FROM corporate_actions") == 2


def refusal(**changes: object) -> dict[str, object]:
    row = {
        "vendor": "files", "symbol": "AAA", "instrument_id": None, "interval": "1d", "session": DAYS[0],
        "reason_codes": ["not_positive", "high_below_low"], "detail": None, "payload": '{"close": -1.0}',
        "logged_at": T0,
    }  # fmt: skip
    return row | changes


def test_the_same_refusal_is_logged_once_and_any_other_beside_it(warehouse: Warehouse) -> None:
    others = [
        refusal(symbol="BBB"),
        refusal(session=DAYS[1]),
        refusal(payload='{"close": -2.0}'),
        refusal(reason_codes=["not_positive"]),
        refusal(detail="repeat 2"),
        refusal(vendor="yfinance"),
        refusal(symbol=None, session=None),
    ]
    with warehouse.arrow() as transaction:
        fetches.write_log(transaction, [refusal()])
        fetches.write_log(transaction, [refusal(logged_at=T0 + timedelta(days=1)), *others])
        fetches.write_log(transaction, [])
    assert warehouse.scalar("SELECT count(*) FROM validation_log") == 1 + len(others)
    first = warehouse.rows("SELECT * FROM validation_log ORDER BY log_id LIMIT 1")[0]
    assert first.reason_codes == ["not_positive", "high_below_low"]
    assert (first.payload, first.logged_at) == ({"close": -1.0}, T0)


def test_a_cursor_keeps_the_stretch_before_the_first_bar_that_a_vendor_is_known_to_have_nothing_in(
    warehouse: Warehouse,
) -> None:
    a = instruments.ensure(warehouse, ["AAA"])["AAA"]

    def move(asked_from: date, first_bar: date | None) -> dict[int, tuple[date, date]]:
        with warehouse.arrow() as transaction:
            fetches.move_cursors(transaction, "files", [(a, asked_from, first_bar)], T0)
        return fetches.cursors(warehouse, "files")

    assert move(DAYS[1], None) == {}, "an empty answer proves nothing about what never had a bar"
    assert move(DAYS[2], DAYS[3]) == {a: (DAYS[2], DAYS[3])}
    assert move(DAYS[4], DAYS[4]) == {a: (DAYS[2], DAYS[3])}, "a later fetch says nothing about the beginning"
    assert move(DAYS[1], None) == {a: (DAYS[1], DAYS[3])}, "asked deeper, in vain: the empty stretch grows"
    assert move(DAYS[0], DAYS[0]) == {a: (DAYS[0], DAYS[0])}, "an older bar came: its life begins there"
    assert fetches.cursors(warehouse, "yfinance") == {}


def test_the_newest_bar_of_each_is_found_up_to_a_session(warehouse: Warehouse, source: int) -> None:
    write(warehouse, table([(1, DAYS[0], 10), (1, DAYS[2], 10), (2, DAYS[3], 10)], source))
    assert tables.last_sessions(warehouse, [1, 2, 3], DAYS[1]) == {1: DAYS[0]}
    assert tables.last_sessions(warehouse, [1, 2, 3], DAYS[4]) == {1: DAYS[2], 2: DAYS[3]}


def test_the_neighbourhood_is_all_of_a_span_and_so_many_bars_on_either_side(warehouse: Warehouse, source: int) -> None:
    write(warehouse, table([(i, day, 10) for i in (1, 2, 3) for day in DAYS], source))
    first, last = np.array([DAYS[3], DAYS[1]], "datetime64[D]"), np.array([DAYS[3], DAYS[2]], "datetime64[D]")
    with warehouse.arrow() as transaction:
        found = tables.read_neighbourhood(transaction, np.array([1, 2], np.int32), first, last, around=2)
        none = tables.read_neighbourhood(transaction, np.empty(0, np.int32), first[:0], last[:0], around=2)
    keys = list(zip(found["instrument_id"].tolist(), found["session"].tolist(), strict=True))
    assert keys == [(1, d) for d in DAYS[1:]] + [(2, d) for d in DAYS]
    assert {name: column.dtype for name, column in none.items()} == {n: c.dtype for n, c in found.items()}
    assert len(none["session"]) == 0

"""The ways into the warehouse."""

from __future__ import annotations

import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from quantmatrix_pipeline.errors import ChainBusy, TimeBudgetExceeded, WarehouseError, WarehouseUnavailable
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import engine
from quantmatrix_pipeline.warehouse.engine import Warehouse, masked
from quantmatrix_pipeline.warehouse.locate import open_reader

WRITE = "INSERT INTO instruments (kind) VALUES ('stock')"


@pytest.fixture
def reader(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setenv("QM_DATABASE_URL", database_url)
    return open_reader(Settings())


def test_a_reader_writes_on_no_way_though_the_url_is_the_owners(reader: Warehouse, database_url: str) -> None:
    with pytest.raises(DBAPIError, match="read-only transaction"):
        reader.execute(WRITE)
    with pytest.raises(WarehouseError, match="read-only transaction"), reader.arrow() as transaction:
        transaction.execute(WRITE)
    with pytest.raises(WarehouseError, match="read-only transaction"):
        reader.read(f"{WRITE} RETURNING instrument_id")
    assert Warehouse(database_url).scalar("SELECT count(*) FROM instruments") == 0
    assert reader.arrow_table("SELECT 1 AS one")["one"].to_pylist() == [1]


def test_what_a_block_of_columns_wrote_is_gone_when_it_fails(database_url: str) -> None:
    warehouse = Warehouse(database_url)
    rows = pa.table({"kind": ["stock", "fund"]})

    def write_and_fail() -> None:
        with warehouse.arrow() as transaction:
            assert transaction.append("instruments", rows) == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert warehouse.scalar("SELECT count(*) FROM instruments") == 0


def test_who_waits_too_long_for_a_step_is_told_so_and_the_lock_goes_with_its_holder(database_url: str) -> None:
    first, second = Warehouse(database_url), Warehouse(database_url)
    with first.exclusive("history", 0):
        with pytest.raises(ChainBusy, match="another run is writing history"), second.exclusive("history", 0.3):
            pass
        with second.exclusive("bars_1d", 0):
            pass
    with second.exclusive("history", 0):
        pass


def test_a_database_that_is_not_there_is_unavailable_and_its_password_stays_hidden() -> None:
    url = "postgresql://somebody:s3cret@127.0.0.1:9/nowhere"
    with pytest.raises(WarehouseUnavailable) as caught:
        Warehouse(url).scalar("SELECT 1")
    assert "s3cret" not in str(caught.value)
    assert "somebody:***@127.0.0.1:9" in str(caught.value)
    assert masked(url) == "postgresql://somebody:***@127.0.0.1:9/nowhere"


def test_the_statements_of_one_transaction_share_the_time_budget(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LEAST_SECONDS", 0.1)
    warehouse = Warehouse(database_url, budget_seconds=1.0)

    def take_twice_six_tenths() -> None:
        with warehouse.begin() as connection:
            for _ in range(2):
                connection.execute(sa.text("SELECT pg_sleep(0.6)"))

    with pytest.raises(TimeBudgetExceeded, match="the time budget of 1 s is used up"):
        take_twice_six_tenths()
    warehouse.close()


def test_a_statement_that_somebody_cancels_did_not_use_up_the_time_budget(database_url: str) -> None:
    warehouse = Warehouse(database_url, budget_seconds=60)
    canceled = "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)"
    with pytest.raises(WarehouseUnavailable):
        warehouse.scalar(canceled)
    with pytest.raises(WarehouseError) as caught, warehouse.arrow() as transaction:
        transaction.query(canceled)
    assert not isinstance(caught.value, TimeBudgetExceeded)
    warehouse.close()

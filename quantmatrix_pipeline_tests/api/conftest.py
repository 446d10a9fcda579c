"""One warehouse for the tests of the read API, filled by the platform's own write paths, and a client to read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from quantmatrix_pipeline.api.app import create_app
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.coverage import report
from quantmatrix_pipeline.coverage.fill import update_fill
from quantmatrix_pipeline.coverage.gaps import scan
from quantmatrix_pipeline.ingest.daily import ingest_daily
from quantmatrix_pipeline.providers.vendors.sample import SampleProvider
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.snapshots.breadth import record_breadth
from quantmatrix_pipeline.snapshots.record import record_history, update_snapshots
from quantmatrix_pipeline.universe.tracking import update_tracked
from quantmatrix_pipeline.warehouse import actions, bars, instruments, profiles, reconciliation, universe
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.profiles import Facts, Said
from quantmatrix_pipeline_tests.api.listening_dagster import Listening, listening
from quantmatrix_pipeline_tests.conftest import TEMPLATE, _database

SESSION = date(2013, 3, 1)  # the sample's last
NOW = datetime(2013, 3, 1, 22, 0, tzinfo=UTC)  # an hour after its close
EVERY_BAR = 3_400
HISTORY_FROM = date(2012, 1, 3)
ADJUSTED = "ADJ"  # stored split-adjusted as of ADJUSTED_TO, with one split after that
ADJUSTED_TO = date(2013, 2, 15)
BARE = "BARE"  # known, watched, and without a bar
PROFILES = {
    "AAPL": Facts("Apple Inc.", "NASDAQ", "Technology", "Hardware", "Phones", 4.1e11, "USD", date(2013, 4, 23)),
    "IBM": Facts("IBM", "NYSE", "Technology", "Services", None, 2.3e11, "USD", SESSION),
    "MSFT": Facts("Microsoft", "NASDAQ", "technology", "Software", None, 2.3e11, "USD", date(2013, 2, 28)),
    "FB": Facts("Facebook", "NASDAQ", "Media", None, None, None, None, None),
}


@dataclass(frozen=True)
class Filled:
    """A database that holds the sample whole, indicators, 14 months of history and a coverage report."""

    owner_url: str
    reader_url: str


@pytest.fixture(scope="session")
def filled(server: EmbeddedServer) -> Iterator[Filled]:
    for url in _database(server, TEMPLATE):
        warehouse = Warehouse(url)
        _fill(warehouse)
        warehouse.close()
        yield Filled(url, server.url(url.rsplit("/", 1)[1], "qm_reader"))


def _fill(warehouse: Warehouse) -> None:
    calendar = trading_calendar()
    sample = SampleProvider()
    update_tracked(warehouse, SESSION, benchmark="IBM", listings=sample.listings())
    ingest_daily(warehouse, sample, calendar, SESSION, SESSION, depth=EVERY_BAR, now=NOW)
    scan(warehouse, calendar, SESSION, depth=EVERY_BAR, now=NOW)
    _store_adjusted(warehouse)
    ids = instruments.ensure(warehouse, [BARE])
    universe.watch(warehouse, list(ids.values()), NOW)
    universe.track(warehouse, SESSION, {ids[BARE]: ["watch_list"]})
    members = instruments.ids(warehouse, ["AAPL", "IBM", "MSFT"]).values()
    universe.apply_members(
        warehouse, "DOW30", SESSION, list(members), provider_used="files", fallback_used=False, note=None, now=NOW
    )
    ids = instruments.ids(warehouse)
    instruments.describe(warehouse, [{"symbol": "IBM", "sector": "Information Technology"}])
    profiles.keep(warehouse, [Said(ids[s], "fmp", Facts(name="before")) for s in PROFILES], [], NOW - timedelta(days=7))
    profiles.keep(warehouse, [Said(ids[s], "fmp", facts) for s, facts in PROFILES.items()], [], NOW)
    _store_differences(warehouse, ids["AAPL"])
    update_snapshots(warehouse, calendar, SESSION, grace=timedelta(minutes=30), now=NOW)
    record_history(warehouse, HISTORY_FROM, SESSION, now=NOW)
    record_breadth(warehouse, HISTORY_FROM, SESSION, now=NOW)
    report.save(warehouse, report.coverage_as_of(warehouse, calendar, SESSION, target=0.9), NOW)
    update_fill(warehouse, calendar, HISTORY_FROM, SESSION, NOW)


def _store_differences(warehouse: Warehouse, instrument_id: int) -> None:
    """Store what another vendor said of two bars: one agrees, of the other a low and the volume differ."""
    bar = {
        "instrument_id": instrument_id, "session": SESSION, "source_id": 1, "version": 1, "second_vendor": "fmp",
        "second_basis": "raw", "second_basis_date": None, "second_open": 438.0, "second_high": 438.2,
        "second_low": 429.0, "second_close": 430.5, "second_volume": 1.9e7, "asked_because": "sample",
        "cause": "bad_print", "verdict": "open", "against": ["sample", "fmp"], "run_session": SESSION,
        "differences": [
            {"field": "low", "stored": 429.98, "second": 420.0, "difference": -0.0232, "tolerance": 0.002},
            {"field": "volume", "stored": 1.97e7, "second": 1e7, "difference": -0.49, "tolerance": 0.2},
        ],
    }  # fmt: skip
    agrees = {"cause": "none", "verdict": "agree", "against": [], "differences": []}
    before = trading_calendar().previous(SESSION)
    reconciliation.write(warehouse, [bar, bar | agrees | {"session": before}], NOW)


def _store_adjusted(warehouse: Warehouse) -> None:
    """Store bars of `ADJUSTED` that halve on 2013-02-20, the ex-date of a 2:1 split; two of them of low quality.

    A dividend of 2.50 has its ex-date on 2013-02-26.
    """
    instrument_id = instruments.ensure(warehouse, [ADJUSTED])[ADJUSTED]
    source = bars.source_id(warehouse, "files", "split", ADJUSTED_TO)
    sessions = trading_calendar().sessions_in(date(2012, 12, 3), SESSION)
    close = np.where(sessions < np.datetime64("2013-02-20"), 100.0, 50.0)
    count = len(sessions)
    quality = np.ones(count)
    quality[3], quality[5] = 0.4, 0.7
    table = pa.table(
        {
            "instrument_id": pa.array(np.full(count, instrument_id), pa.int32()),
            "session": pa.array(sessions, pa.date32()),
            **dict.fromkeys(("open", "high", "low", "close"), close),
            "volume": np.full(count, 1_000.0),
            "quality_score": quality,
            "validated": quality >= 0.85,
            "gap_detected": np.zeros(count, bool),
            "volume_anomaly": quality < 1,
            "source_id": pa.array(np.full(count, source), pa.int16()),
        }
    )
    split = {
        "instrument_id": instrument_id, "kind": "split", "ex_date": date(2013, 2, 20), "numerator": 2, "denominator": 1,
        "amount": None, "currency": None, "vendor": "files", "as_of": NOW,
    }  # fmt: skip
    dividend = split | {
        "kind": "cash_dividend", "ex_date": date(2013, 2, 26), "numerator": None, "denominator": None, "amount": "2.5",
        "currency": "USD",
    }  # fmt: skip
    with warehouse.arrow() as transaction:
        bars.write_daily(transaction, table, NOW)
        actions.write_actions(transaction, [split, dividend])


@pytest.fixture(scope="module")
def dagster() -> Iterator[Listening]:
    """A server that answers as Dagster does."""
    with listening() as running:
        yield running


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Freeze the clock an hour after the newest session's close."""
    monkeypatch.setenv("QM_NOW", NOW.isoformat())
    return NOW


@pytest.fixture
def reader(filled: Filled) -> Iterator[Warehouse]:
    """The filled warehouse with a reader's rights."""
    warehouse = Warehouse(filled.reader_url)
    yield warehouse
    warehouse.close()


@pytest.fixture
def client(reader: Warehouse, now: datetime) -> Iterator[TestClient]:
    """A client of the API over the filled warehouse, at `NOW`."""
    with TestClient(create_app(Settings(), reader), raise_server_exceptions=False) as client:
        yield client

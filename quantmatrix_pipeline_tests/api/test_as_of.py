"""What was answered at some moment is answered for that moment ever after, whatever was learned since."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from quantmatrix_pipeline.api.app import create_app
from quantmatrix_pipeline.bars.batch import FIELDS, BarBatch, Basis
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.ingest.load import store_answer
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.providers.answers import DailyAnswer, Dividend, Split
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.snapshots.breadth import record_breadth
from quantmatrix_pipeline.snapshots.record import record_history, update_snapshots
from quantmatrix_pipeline.warehouse import instruments, profiles, universe
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.profiles import Facts, Said
from quantmatrix_pipeline.warehouse.universe import Tracked
from quantmatrix_pipeline_tests.conftest import TEMPLATE, _database

CALENDAR = trading_calendar("XNYS")
DAYS = CALENDAR.sessions_in(date(2021, 9, 1), date(2021, 12, 31))
GRACE = timedelta(minutes=30)
SYMBOLS = ("AAA", "BBB")
ROUTES = (
    "/api/v1/historical/AAA?min_quality=0",
    "/api/v1/historical/AAA?adjust=total_return",
    "/api/v1/market-data/db/history?symbol=AAA",
    "/api/v1/market/prices?symbol=AAA&range=max",
    "/api/v1/market/prices?symbol=AAA&range=20d&adjust=total_return",
    "/api/v1/market/ta?symbol=AAA",
    "/api/v1/market/atr?symbol=AAA",
    "/api/v1/snapshots?market_cap__gte=0&sort=-close",
    "/api/v1/market/breadth",
    "/api/v1/snapshots/AAA",
    "/api/v1/snapshots/AAA/analysis",
    "/api/v1/snapshots/AAA/history?limit=30",
)
OF_ONE = ("/market/ta?", "/market/atr?", "/analysis", "/snapshots/AAA")
OF_ROWS = tuple(route for route in ROUTES if "/history" in route or not any(one in route for one in OF_ONE))


def batch(last: np.datetime64, **changes: float) -> BarBatch:
    """Return both symbols' bars up to a session; `changes` multiply the fields of AAA's bar of 2021-11-10."""
    days = DAYS[last >= DAYS]
    rng = np.random.default_rng(5)
    close = np.round(100 * np.cumprod(1 + rng.normal(0, 0.01, (2, len(DAYS))), axis=1), 2)[:, : len(days)]
    values = {"open": close * 1.001, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": close * 1e4}
    at = np.flatnonzero(days == np.datetime64("2021-11-10"))
    for name, factor in changes.items():
        values[name][0, at] *= factor
    index = np.repeat(np.arange(2, dtype=np.int32), len(days))
    return BarBatch(SYMBOLS, index, np.tile(days, 2), **{name: values[name].ravel() for name in FIELDS})


@dataclass
class Nights:
    """A warehouse that learns something each night, and what the API answered on that night."""

    warehouse: Warehouse
    client: TestClient
    patch: pytest.MonkeyPatch
    asked: dict[datetime, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ids = instruments.ensure(self.warehouse, [*SYMBOLS])
        universe.watch(self.warehouse, list(ids.values()), datetime(2021, 9, 1, tzinfo=UTC))
        self.instruments = {
            s: Tracked(ids[s], s, "stock", "XNYS", DAYS[0].item(), ("watch_list",), None) for s in SYMBOLS
        }

    def night(
        self, day: str, *, splits: tuple[Split, ...] = (), cash: tuple[Dividend, ...] = (), **changes: float
    ) -> None:
        """Store, compute and record as of a session's evening, and ask every route."""
        session = datetime.fromisoformat(day).date()
        now = CALENDAR.close(session) + timedelta(hours=1)
        self.patch.setenv("QM_NOW", now.isoformat())
        answer = DailyAnswer(
            "polygon", Basis.RAW, None, batch(np.datetime64(day), **changes), splits=splits, dividends=cash
        )
        requests = {s: BarRequest(s, DAYS) for s in SYMBOLS}
        report = IngestReport("polygon", DAYS[0].item(), session)
        store_answer(self.warehouse, CALENDAR, self.instruments, requests, answer, report, now)
        market_cap = 1e9 + len(self.asked)
        said = [
            Said(t.instrument_id, "fmp", Facts(exchange="NYSE", market_cap=market_cap))
            for t in self.instruments.values()
        ]
        profiles.keep(self.warehouse, said, [], now)
        update_snapshots(self.warehouse, CALENDAR, session, grace=GRACE, now=now)
        record_history(self.warehouse, session, session, now=now)
        record_breadth(self.warehouse, session, session, now=now)
        self.asked[now] = {route: self.client.get(route).json() for route in ROUTES}


@pytest.fixture(scope="module")
def learned(server: EmbeddedServer) -> Iterator[Nights]:
    """Four nights, lived through once; the tests only ask what was known when."""
    patch = pytest.MonkeyPatch()
    for url in _database(server, TEMPLATE):
        warehouse = Warehouse(url)
        patch.setenv("QM_NOW", "2021-09-01T00:00:00Z")
        client = TestClient(create_app(Settings(), warehouse), raise_server_exceptions=False)
        told = Nights(warehouse, client, patch)
        told.night("2021-11-26")
        told.night("2021-11-29", close=1.005)  # a correction
        split = Split(
            "AAA", DAYS[-40].item(), Fraction(1, 20)
        )  # learned late, and wrong: nothing in the prices shows it
        told.night("2021-11-30", splits=(split,), close=1.005)
        told.night("2021-12-01", cash=(Dividend("AAA", DAYS[-30].item(), 1.5, "USD"),), volume=2.0)
        patch.undo()
        yield told
        warehouse.close()


@pytest.fixture
def nights(learned: Nights, monkeypatch: pytest.MonkeyPatch) -> Nights:
    monkeypatch.setenv("QM_NOW", "2022-03-01T00:00:00Z")
    return learned


def _as_of(route: str, moment: datetime) -> str:
    return f"{route}{'&' if '?' in route else '?'}as_of={quote(moment.isoformat())}"


def test_what_was_answered_at_a_moment_is_answered_for_that_moment_ever_after(nights: Nights) -> None:
    answers = []
    for moment, told in nights.asked.items():
        for route, body in told.items():
            again = nights.client.get(_as_of(route, moment)).json()
            if "known_at" in body:
                assert datetime.fromisoformat(again.pop("known_at")) == moment
                assert body.pop("known_at") is None
            assert again == body, (route, moment)
        answers.append(told)
    for route in ROUTES:  # each night changed each answer: nothing above was equal because nothing happened
        assert all(one[route] != other[route] for one, other in pairwise(answers)), route


@pytest.mark.parametrize("route", OF_ROWS)
def test_csv_and_arrow_hold_the_rows_of_json_as_of_then(nights: Nights, route: str) -> None:
    moment = sorted(nights.asked)[1]
    url = _as_of(route, moment)
    rows = nights.client.get(url).json()["data"]
    arrow = nights.client.get(url, headers={"Accept": "application/vnd.apache.arrow.stream"})
    table = pa.ipc.open_stream(arrow.content).read_all()
    assert table.column_names == list(rows[0])
    name = "close" if "breadth" not in route else "advances"
    assert table[name].to_pylist() == [row[name] for row in rows]
    csv = nights.client.get(url, headers={"Accept": "text/csv"}).text.splitlines()
    assert len(csv) == len(rows) + 1


def test_before_anything_was_known_there_is_nothing(nights: Nights) -> None:
    before = datetime(2021, 10, 1, tzinfo=UTC)
    for route in OF_ROWS:
        assert nights.client.get(_as_of(route, before)).json()["count"] == 0
    missing = nights.client.get(_as_of("/api/v1/snapshots/AAA", before))
    assert missing.status_code == 404
    assert "2021-10-01" in missing.json()["detail"]


def test_each_version_says_why_it_came_and_what_it_is(nights: Nights) -> None:
    (row,) = nights.client.get("/api/v1/market-data/db/history?symbol=AAA&start=2021-11-10&end=2021-11-10").json()[
        "data"
    ]
    assert (row["status"], row["reason"], row["vendor"]) == ("revised", "corrected", "polygon")
    versions = nights.warehouse.rows("""
        SELECT v.status, v.reason FROM price_data_versions v JOIN symbols s USING (instrument_id)
        WHERE s.symbol = 'AAA' AND v.session = '2021-11-10' ORDER BY v.version
    """)
    assert [tuple(v) for v in versions][:2] == [("final", "first"), ("revised", "corrected")]
    known = nights.warehouse.rows(
        "SELECT close FROM bars_known_at(:at) WHERE symbol = 'AAA' AND session = '2021-11-10'", at=min(nights.asked)
    )
    assert len(known) == 1


@pytest.mark.parametrize(
    ("as_of", "says"),
    [
        ("2021-12-31", "is a day and no instant"),
        ("2021-12-31T22:00:00", "no offset"),
        ("2021-12-31T22:00:00 00:00", "is no instant"),
        ("yesterday", "is no instant"),
        ("2023-01-01T00:00:00Z", "lies ahead"),
        ("", "is no instant"),
    ],
)
@pytest.mark.parametrize("route", [ROUTES[0], ROUTES[3], ROUTES[5], ROUTES[7], ROUTES[9], ROUTES[11]])
def test_a_bad_moment_is_refused_and_told_how_to_write_one(
    client: TestClient, route: str, as_of: str, says: str
) -> None:
    response = client.get(f"{route}{'&' if '?' in route else '?'}as_of={quote(as_of)}")
    assert response.status_code == 422
    (fault,) = response.json()["errors"]
    assert fault["field"] == "as_of"
    assert says in fault["message"]

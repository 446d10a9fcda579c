"""A night's reconciliation on a real database: who is asked, what is kept, who is believed, whose health it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest

from quantmatrix_pipeline.bars.batch import FIELDS, BarBatch, Basis
from quantmatrix_pipeline.bars.reconcile.causes import Cause
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.errors import VendorUnavailable
from quantmatrix_pipeline.ingest import decide
from quantmatrix_pipeline.ingest.load import store_answer
from quantmatrix_pipeline.ingest.reconcile import Reconciled, reconcile
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.providers.answers import DailyAnswer
from quantmatrix_pipeline.providers.contract import BarRequest, Offer
from quantmatrix_pipeline.warehouse import actions, instruments, reconciliation, repairs, universe
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.universe import Tracked
from quantmatrix_pipeline_tests.pipeline.running import walk
from quantmatrix_pipeline_tests.unit.providers.routing.scripted import Scripted, Stage

CALENDAR = trading_calendar("XNYS")
DAYS = CALENDAR.window(date(2021, 12, 31), 30)
NIGHT: date = DAYS[-1].item()
NOW = datetime(2022, 1, 3, 23, tzinfo=UTC)
SPLIT = DAYS[12].item()
SYMBOLS = ["AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG"]
PRICES = list(FIELDS[:4])


class Market:
    """Seven stocks as `acme` has stored them, and what `beta` and `gamma` say of them when they are asked."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.truth = walk(SYMBOLS, DAYS.tolist()).astype({"volume": float})
        after = (self.truth["symbol"] == "GGG") & (self.truth["date"] >= SPLIT)
        self.truth.loc[after, PRICES] /= 2
        self.truth.loc[after, "volume"] *= 2
        self.ids = instruments.ensure(warehouse, SYMBOLS)
        universe.track(warehouse, NIGHT, {number: ["watch_list"] for number in self.ids.values()})
        split = {"kind": "split", "ex_date": SPLIT, "numerator": 2, "denominator": 1, "vendor": "acme", "as_of": NOW}
        with warehouse.arrow() as transaction:
            actions.write_actions(transaction, [{"instrument_id": self.ids["GGG"], **split}])
        self.stored = self.truth.copy()
        self.stored.loc[self.at("BBB"), "open"] *= 1.03
        self.stored.loc[self.at("BBB"), "high"] *= 1.05
        assert self.store(self.stored) == len(self.stored)
        self.beta = self.truth.copy()
        self.beta.loc[self.at("AAA"), "low"] *= 0.95
        self.beta.loc[self.at("CCC"), PRICES] *= 1.02
        self.beta.loc[self.beta["symbol"] == "DDD", PRICES] *= 0.97
        self.beta.loc[self.beta["symbol"] == "EEE", "volume"] = np.nan  # a vendor that gives none
        self.gamma = self.truth[self.truth["symbol"] != "CCC"].copy()
        for frame in (self.beta, self.gamma):  # adjusted for the split that the database knows of
            before = (frame["symbol"] == "GGG") & (frame["date"] < SPLIT)
            frame.loc[before, PRICES] /= 2
            frame.loc[before, "volume"] *= 2

    def at(self, symbol: str, day: int = -1) -> Any:
        return (self.truth["symbol"] == symbol) & (self.truth["date"] == DAYS[day].item())

    def store(self, frame: pd.DataFrame, revised: int = 0) -> int:
        known = {
            s: Tracked(number, s, "stock", "XNYS", DAYS[0].item(), ("watch_list",), None)
            for s, number in self.ids.items()
        }
        asked = {symbol: BarRequest(symbol, DAYS) for symbol in SYMBOLS}
        report = IngestReport("acme", DAYS[0].item(), NIGHT)
        now = NOW + timedelta(days=revised)
        store_answer(self.warehouse, CALENDAR, known, asked, answer_of("acme", frame, SYMBOLS), report, now)
        assert (report.revised, report.rejected) == (revised, 0)
        return report.inserted

    def vendors(self, *more: Scripted) -> Stage:
        def says(name: str, frame: pd.DataFrame, basis: Basis) -> Scripted:
            def daily(requests: Sequence[BarRequest]) -> DailyAnswer:
                symbols = [r.symbol for r in requests if r.symbol not in ("FFF",)]
                return answer_of(name, frame[frame["date"] >= requests[0].first], symbols, basis)

            return Scripted(name, Offer(symbols_per_call=3), daily, seconds=0)

        acme = Scripted("acme", Offer(), seconds=0)
        return Stage(acme, *more, says("beta", self.beta, Basis.SPLIT), says("gamma", self.gamma, Basis.SPLIT))

    def reconcile(self, stage: Stage | None, *, sample: int = 7, flagged: int = 7, share: float = 1.0) -> Reconciled:
        router = None if stage is None else stage.router
        return reconcile(self.warehouse, router, NIGHT, sample=sample, flagged=flagged, share=share, now=NOW)


def answer_of(vendor: str, frame: pd.DataFrame, symbols: Sequence[str], basis: Basis = Basis.RAW) -> DailyAnswer:
    frame = frame[frame["symbol"].isin(symbols)]
    names = tuple(sorted(frame["symbol"].unique()))
    batch = BarBatch(
        names,
        frame["symbol"].map(names.index).to_numpy(np.int32),
        frame["date"].to_numpy().astype("datetime64[D]"),
        *(frame[name].to_numpy(np.float64) for name in FIELDS),
    )
    return DailyAnswer(vendor, basis, None if basis is Basis.RAW else NIGHT, batch)


@pytest.fixture
def market(database_url: str) -> Iterator[Market]:
    warehouse = Warehouse(database_url)
    yield Market(warehouse)
    warehouse.close()


def verdicts(warehouse: Warehouse) -> Mapping[str, tuple[Any, ...]]:
    rows = warehouse.rows("""
        SELECT symbol, second_vendor, cause, verdict, against FROM bar_comparisons
        JOIN instrument_symbols USING (instrument_id) WHERE asked_because <> 'third_opinion' ORDER BY symbol
    """)
    return {row.symbol: tuple(row)[1:] for row in rows}


def test_a_night_asks_another_vendor_keeps_both_candidates_and_lets_a_third_one_decide(
    market: Market, server: EmbeddedServer, database_url: str
) -> None:
    stage = market.vendors()
    bars = market.warehouse.rows("SELECT * FROM price_data ORDER BY 1, 3")
    done = market.reconcile(stage)
    assert verdicts(market.warehouse) == {
        "AAA": ("beta", "bad_print", "stored", ["beta"]),
        "BBB": ("beta", "bad_print", "second", ["acme"]),
        "CCC": ("beta", "unexplained", "open", ["acme", "beta"]),
        "DDD": ("beta", "spin_off", "convention", []),
        "EEE": ("beta", "none", "agree", []),
        "FFF": ("gamma", "none", "absent", []),
        "GGG": ("beta", "none", "agree", []),
    }
    assert (done.sampled, done.compared, done.contradicted, done.unasked) == (7, 6, 3, 0)
    assert market.warehouse.rows("SELECT * FROM price_data ORDER BY 1, 3") == bars
    acme, beta, gamma = stage.router._vendors.values()
    assert isinstance(acme, Scripted)
    assert isinstance(beta, Scripted)
    assert isinstance(gamma, Scripted)
    assert not acme.asked
    assert sorted(beta.symbols) == SYMBOLS
    assert sorted(gamma.symbols) == ["AAA", "BBB", "CCC", "FFF"]  # what is contested, and what nobody has
    # A bar is asked for with those before it, which tell a factor from a fault.
    assert all(len(r.sessions) == 11 and r.last == NIGHT for r in beta.requests)

    (low,) = reconciliation.find(market.warehouse, symbol="AAA")
    told = market.truth.loc[market.at("AAA"), "low"].item()
    assert (low.field, low.vendor, low.second_vendor, low.asked_because) == ("low", "acme", "beta", "sample")
    assert (low.stored, low.second) == (told, pytest.approx(told * 0.95))
    assert (low.difference, low.tolerance) == (pytest.approx(-0.05), 0.002)
    assert {d.field for d in reconciliation.find(market.warehouse, symbol="BBB", verdict="second")} == {"open", "high"}
    assert len(reconciliation.find(market.warehouse, cause=Cause.SPIN_OFF)) == 4

    health = stage.store.read_health()
    assert health["acme"].compared == ((NIGHT, 4, 6),)
    assert health["beta"].compared == ((NIGHT, 4, 6),)
    assert "gamma" not in health or not health["gamma"].compared
    assert stage.states.health("acme").completeness == pytest.approx(4 / 6)

    lately = reconciliation.lately(market.warehouse, DAYS[-20].item(), NIGHT)
    assert (lately.compared, lately.contradicted, lately.open, lately.rate) == (6, 3, 1, 0.5)
    assert reconciliation.lately(market.warehouse, DAYS[0].item(), DAYS[-2].item()).rate == 0
    for statement in ("UPDATE bar_comparisons SET verdict = 'agree'", "DELETE FROM bar_differences"):
        writer = server.url(database_url.rsplit("/", 1)[1], "qm_writer")
        with psycopg.connect(writer) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)  # type: ignore[arg-type]

    # What was compared is not asked about again, but for another version.
    stage = market.vendors()
    again = market.reconcile(stage)
    assert (again.sampled, again.flagged, again.rows) == (0, 0, [])
    assert not [v for v in stage.router._vendors.values() if isinstance(v, Scripted) and v.asked]
    corrected = market.truth[market.truth["symbol"] == "EEE"].copy()
    corrected.loc[market.at("EEE"), "high"] *= 1.01
    market.store(corrected, revised=1)
    third = market.reconcile(market.vendors())
    said = [(row["version"], row["verdict"]) for row in third.rows if row["asked_because"] == "sample"]
    assert said == [(2, "second")]

    # A verdict against what is stored is a suggestion; a person's word holds when the vendor sends the same again.
    (suggested,) = repairs.find(market.warehouse, symbol="BBB", state="suggested")
    assert (suggested.symbol, suggested.rule, suggested.confidence) == ("BBB", "second_opinion", 0.8)
    assert suggested.evidence == {
        "second_vendor": "beta", "third_vendor": "gamma", "cause": "bad_print", "fields": ["open", "high"],
    }  # fmt: skip
    decide.apply(market.warehouse, CALENDAR, [suggested.repair_id], NOW + timedelta(hours=1), 5)
    bar = "SELECT open, high, low, close, volume FROM bars WHERE symbol = 'BBB' AND session = :day"
    truth = market.truth.loc[market.at("BBB"), list(FIELDS)].to_numpy()[0]
    assert tuple(market.warehouse.rows(bar, day=NIGHT)[0]) == pytest.approx(tuple(truth))
    market.store(market.stored[market.stored["symbol"] == "BBB"], revised=0)
    assert tuple(market.warehouse.rows(bar, day=NIGHT)[0]) == pytest.approx(tuple(truth))
    decide.undo(market.warehouse, CALENDAR, [suggested.repair_id], NOW + timedelta(hours=2), 5)
    assert tuple(market.warehouse.rows(bar, day=NIGHT)[0]) == suggested.original


def test_the_sample_is_the_sessions_and_nobody_need_be_there_to_be_asked(market: Market) -> None:
    draws = {day: reconciliation.sample(market.warehouse, DAYS[day].item(), 3) for day in range(-6, 0)}
    assert all(len(draw) == 3 for draw in draws.values())
    assert draws[-1] == reconciliation.sample(market.warehouse, NIGHT, 3)
    assert len({tuple(bar.symbol for bar in draw) for draw in draws.values()}) > 1

    assert market.reconcile(None).skipped is not None
    alone = Stage(Scripted("acme", Offer(), seconds=0))
    done = market.reconcile(alone)
    assert (done.sampled, done.unasked, done.rows) == (7, 7, [])

    def down(_: Sequence[BarRequest]) -> DailyAnswer:
        raise VendorUnavailable("beta", "HTTP 503")

    done = market.reconcile(Stage(Scripted("acme", Offer()), Scripted("beta", Offer(), down, seconds=0)))
    assert (done.unasked, done.rows) == (7, [])
    assert market.warehouse.scalar("SELECT count(*) FROM bar_comparisons") == 0

    stage = Stage(Scripted("acme", Offer(), seconds=0), Scripted("beta", Offer(), seconds=0), limits={"beta": "20/day"})
    market.reconcile(stage, share=0.25)
    beta = stage.router._vendors["beta"]
    assert isinstance(beta, Scripted)
    assert len(beta.asked) == 5


def test_flagged_bars_of_any_day_are_asked_about_newest_first_within_the_number_of_instruments(market: Market) -> None:
    for symbol, day in (("AAA", -4), ("DDD", -3), ("DDD", -20), ("EEE", -9)):
        market.warehouse.execute(
            "UPDATE price_data SET volume_anomaly = true WHERE instrument_id = :id AND session = :day",
            {"id": market.ids[symbol], "day": DAYS[day].item()},
        )
    done = market.reconcile(market.vendors(), sample=0, flagged=2)
    assert done.flagged == 3
    found = {(row["instrument_id"], row["session"]) for row in done.rows}
    assert found == {(market.ids[s], DAYS[k].item()) for s, k in (("AAA", -4), ("DDD", -3), ("DDD", -20))}
    assert {row["asked_because"] for row in done.rows} == {"flagged"}
    rest = market.reconcile(market.vendors(), sample=0, flagged=2)
    assert [(row["instrument_id"], row["session"]) for row in rest.rows] == [(market.ids["EEE"], DAYS[-9].item())]

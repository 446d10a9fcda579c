"""`qm vendors` and what `qm doctor` says of vendors: every kind of question, every refusal, as a user sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from quantmatrix_pipeline.settings import VENDORS
from quantmatrix_pipeline_tests.cli.conftest import Done
from quantmatrix_pipeline_tests.faults import chain
from quantmatrix_pipeline_tests.pipeline.running import CALENDAR, walk
from quantmatrix_pipeline_tests.vendor_server import (
    KEYS,
    Market,
    SplitOf,
    Vendors,
    at,
    broken,
    garbage,
    limited,
    premium,
    slow,
    vendors,
)

DAYS: list[date] = list(CALENDAR.window(CALENDAR.newest_closed(datetime.now(UTC), timedelta(minutes=30)), 30).tolist())
DOW = [f"DJ{chr(65 + n // 10)}{chr(65 + n % 10)}" for n in range(30)]
MARKET = Market(walk(["AAPL", "BRK.B"], DAYS), [SplitOf("AAPL", DAYS[-3], 4, 1)], DOW)
CLOSE = float(MARKET.bars[MARKET.bars["symbol"] == "AAPL"]["close"].iloc[-1])


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with some vendors' keys and a database of his own."""

    market: Vendors
    url: str
    data_dir: Path
    keys: tuple[str, ...] = tuple(KEYS)

    def qm(self, *arguments: str, keys: tuple[str, ...] = tuple(KEYS), **variables: str) -> Done:
        environment = {**self.market.settings(*keys), "QM_DATABASE_URL": self.url, "QM_SOURCE": "vendors", **variables}
        qm = chain.start(arguments, environment, self.data_dir)
        done = Done(qm.wait(), qm.stdout, qm.stderr)
        assert not [key for key in KEYS.values() if key in done.stdout + done.stderr]
        return done

    def ask(self, *arguments: str, **variables: str) -> Done:
        return self.qm("vendors", "ask", *arguments, **variables)


@pytest.fixture
def user(database_url: str, tmp_path: Path) -> Iterator[User]:
    with vendors(MARKET) as market:
        yield User(market, database_url, tmp_path / "qm")


@pytest.mark.parametrize(
    ("what", "name", "vendor", "shown"),
    [
        ("daily", "AAPL", "twelve_data", str(DAYS[-1])),
        ("daily", "brk-b", "twelve_data", "BRK.B"),
        ("5m", "AAPL", "twelve_data", "opened_at"),
        ("1m", "AAPL", "twelve_data", "opened_at"),
        ("quote", "AAPL", "finnhub", f"price: {CLOSE}"),
        ("profile", "AAPL", "fmp", "sector: Technology"),
        ("splits", "AAPL", "polygon", str(DAYS[-3])),
        ("dividends", "AAPL", "polygon", "symbol: AAPL"),
        ("options", "AAPL", "yfinance", "call"),
        ("members", "dow30", "wikipedia", DOW[-1]),
        ("macro", "DGS10", "fred", "4.25"),
    ],
)
def test_each_kind_of_question_is_answered_by_the_first_vendor_that_can(
    user: User, what: str, name: str, vendor: str, shown: str
) -> None:
    done = user.ask(what, name)
    assert (done.code, done.stderr) == (0, "")
    assert f"\n{vendor}:\n" in f"\n{done.stdout}"
    assert shown in done.stdout
    assert "<" not in done.stdout
    told = json.loads(user.ask(what, name, "--json").stdout)
    assert told["vendor"] == vendor
    assert told["answer"]


def test_why_it_was_not_the_one_before_is_a_line_each(user: User) -> None:
    lines = user.ask("daily", "AAPL").stdout.splitlines()
    assert "not alpha_vantage: ALPHA_VANTAGE_API_KEY is not set" in lines
    assert sum(line.startswith("not finnhub: ") and "FINNHUB_API_KEY" in line for line in lines) == 1
    # The plan was learned: it is not asked again.
    before = len(user.market.calls("finnhub"))
    lines = user.ask("daily", "AAPL").stdout.splitlines()
    assert sum(line.startswith("not finnhub: not in this plan") for line in lines) == 1
    assert len(user.market.calls("finnhub")) == before


@pytest.mark.parametrize(
    ("name", "vendor"), [("polygon", "polygon"), ("yahoo", "yfinance"), ("Twelve-Data", "twelve_data")]
)
def test_a_vendor_may_be_asked_for_by_the_names_that_people_use(user: User, name: str, vendor: str) -> None:
    told = json.loads(user.ask("quote", "AAPL", "--source", name, "--json").stdout)
    assert (told["vendor"], told["answer"]["price"]) == (vendor, CLOSE)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("quote", "AAPL", "--source", "iex"), "'iex' is no vendor any more: IEX Cloud closed"),
        (("quote", "AAPL", "--source", "fmp,polygon"), "--source takes one vendor"),
        (("quote", "two words"), "'two words' can't be a symbol"),
        (("quotes", "AAPL"), None),
    ],
)
def test_what_can_not_be_asked_is_refused_before_anybody_is(
    user: User, arguments: tuple[str, ...], why: str | None
) -> None:
    done = user.ask(*arguments)
    assert done.code == 2
    if why is not None:
        assert why in done.error
    assert user.market.count() == {}


def test_a_preference_is_refused_where_the_settings_switch_preferences_off(user: User) -> None:
    done = user.ask("quote", "AAPL", "--source", "polygon", ALLOW_SOURCE_OVERRIDE="false")
    assert done.code == 2
    assert "ALLOW_SOURCE_OVERRIDE" in done.error
    assert user.market.count() == {}


def test_when_nobody_can_serve_one_line_names_each_vendor_and_its_reason(user: User) -> None:
    done = user.ask("quote", "NOPE")
    assert done.code == 5
    assert "nobody can serve quote NOPE" in done.error
    for reason in (
        "finnhub: NOPE: a quote of zeros",
        "twelve_data: NOPE: quote: **symbol** NOPE",
        "alpha_vantage: ALPHA_VANTAGE_API_KEY is not set",
        "yfinance: NOPE: no quote",
    ):
        assert reason in done.error
    # An index that none of them has is a question of the same kind.
    assert user.ask("members", "R2000").code == 5


@pytest.mark.parametrize("trouble", [broken, garbage, limited(300), premium, slow(2)])
def test_a_vendor_in_trouble_is_a_reason_and_no_log_of_a_library_reaches_the_terminal(
    user: User, trouble: object
) -> None:
    user.market.trouble["finnhub"] = trouble  # type: ignore[assignment]
    done = user.ask("quote", "AAPL", QM_CALL_TIMEOUT_SECONDS="1", QM_CALL_DEADLINE_SECONDS="1")
    assert (done.code, done.stderr) == (0, "")
    assert "\ntwelve_data:\n" in done.stdout
    assert sum(line.startswith("not finnhub: ") for line in done.stdout.splitlines()) == 1


def test_asking_is_within_budget_and_on_record(user: User) -> None:
    for _ in range(3):
        done = user.ask("quote", "AAPL", QM_FINNHUB_BUDGET="2/day")
        assert done.code == 0
    assert "day budget used up" in done.stdout
    assert len(user.market.calls("finnhub")) == 2
    with psycopg.connect(user.url) as connection:
        asked = connection.execute(
            "SELECT run_id, vendor, sum(calls) FROM provider_requests WHERE calls > 0 GROUP BY 1, 2 ORDER BY 2"
        )
        assert asked.fetchall() == [("qm vendors", "finnhub", 2), ("qm vendors", "twelve_data", 1)]


def test_the_list_names_every_vendor_what_it_waits_for_and_asks_nobody(user: User) -> None:
    user.market.keys["finnhub"] = "another"
    user.market.trouble["fmp"] = at("/dowjones", premium)
    assert user.ask("quote", "AAPL").code == 0
    assert user.ask("members", "DOW30").code == 0
    user.market.forget()
    done = user.qm("vendors", "list")
    assert (done.code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    rows = {line.split()[0]: line.split() for line in lines[1 : 1 + len(VENDORS)]}
    assert set(rows) == set(VENDORS)
    assert rows["alpha_vantage"][1:3] == ["missing", "-"]
    assert rows["finnhub"][1:3] == ["ok", "open"]
    told = "\n".join(lines[1 + len(VENDORS) :])
    assert "finnhub: bars_1m, bars_5m," in told
    assert "open after AuthFailed, tried again from 20" in told
    assert "fmp: constituents not in the plan" in told
    body = json.loads(user.qm("vendors", "list", "--json").stdout)
    assert body["overall_health"] == "degraded"
    assert {each["vendor"]: each["state"] for each in body["vendors"]}["finnhub"] == "open"
    assert user.market.count() == {}


def test_the_doctor_says_which_keys_are_set_who_is_skipped_and_the_order_of_each_policy(user: User) -> None:
    done = user.qm("doctor", keys=("finnhub", "polygon"))
    assert (done.code, done.stderr) == (0, "")
    for line in (
        "ok   source: vendors: QM_SOURCE=vendors, bars from polygon, finnhub, yfinance",
        "ok   finnhub: key set, budget 30/s 60/min",
        "note fmp: FMP_API_KEY is not set; skipped",
        "ok   yfinance: needs no key, budget 120/min",
        "note policy of macro: fred (no key)",
        "ok   policy of grouped_bars: polygon -> fmp (no key)",
    ):
        assert line in done.stdout.splitlines()
    assert user.market.count() == {}

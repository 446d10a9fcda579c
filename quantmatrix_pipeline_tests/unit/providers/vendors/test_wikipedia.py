"""Index members out of pages: the S&P 500 page is real, the others are constructed after the real tables' columns."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date
from string import ascii_uppercase

import pytest

from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    RateLimited,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import ConstituentsAnswer, Member
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.transport.answers_kept import KeptAnswers
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import wikipedia
from quantmatrix_pipeline.providers.vendors.wikipedia import Wikipedia, parse_members
from quantmatrix_pipeline_tests.shared_data import shared_data
from quantmatrix_pipeline_tests.unit.providers.vendors.asking import Asking
from quantmatrix_pipeline_tests.unit.providers.vendors.cases import Case, Provenance
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Reply, in_order

SESSION = date(2021, 12, 31)
TICKERS = [a + b for a in ascii_uppercase for b in ascii_uppercase]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{h}</th>" for h in header)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table class='wikitable'><tr>{head}</tr>{body}</table>"


def page(*tables: str) -> str:
    other = table(["Year", "Close"], [["2020", "1"]] * 200)  # longer than any members' table, and none
    return f"<html><body>{other}{''.join(tables)}</body></html>"


def nasdaq(count: int = 101) -> str:
    """Constructed: the Nasdaq-100 table as it is now, with footnotes."""
    header = ["Ticker", "Company", "ICB Industry[14]", "ICB Subsector[14]"]
    return page(table(header, [[t, f"{t} Inc.[a]", "Technology", "Software"] for t in TICKERS[:count]]))


def nasdaq_formerly(count: int = 101) -> str:
    """Constructed: the Nasdaq-100 table as it was."""
    header = ["Company", "Ticker", "GICS Sector", "GICS Sub-Industry"]
    return page(table(header, [[f"{t} Inc.", t, "Health Care", "Biotechnology"] for t in TICKERS[:count]]))


def dow(count: int = 30) -> str:
    """Constructed: the Dow's table, with the change history beside it."""
    header = ["Company", "Exchange", "Symbol", "Industry", "Date added", "Notes", "Index weighting"]
    rows = [[f"{t} Co", "NYSE", t, "Banks", "2020-08-31", "", "3.1%"] for t in TICKERS[:count]]
    return page(table(header, rows))


def hundreds(count: int) -> str:
    """Constructed: the S&P 500 table by its real columns, cut off after `count` members."""
    header = ["Symbol", "Security", "GICS Sector", "GICS Sub-Industry", "Headquarters Location", "Date added"]
    rows = [[t, f"{t} Inc.", "Energy", "Drilling", "Houston, Texas", "2020-01-01"] for t in TICKERS[:count]]
    return page(table(header, rows))


RECORDED = "wikipedia/List_of_SP500_companies_rev1353424858.html.gz"
QUOTED = "as quoted in public issue threads of its readers"
CASES = (
    Case("wikipedia", "ok", Provenance.RECORDED, RECORDED),
    Case(
        "wikipedia", "ok", Provenance.CONSTRUCTED, "the other two, after their columns", (Reply(nasdaq()), Reply(dow()))
    ),
    Case("wikipedia", "paged", Provenance.DOCUMENTED, "each list is one page"),
    Case("wikipedia", "empty", Provenance.CONSTRUCTED, "a table without rows", (Reply(hundreds(0)),)),
    Case("wikipedia", "unknown symbol", Provenance.DOCUMENTED, "only indexes that have a page are asked for"),
    Case("wikipedia", "rate limited", Provenance.DOCUMENTED, "status 429", (Reply("Too many requests", 429),)),
    Case("wikipedia", "bad key", Provenance.DOCUMENTED, "there is none; no user agent, " + QUOTED, (Reply("", 403),)),
    Case("wikipedia", "premium only", Provenance.DOCUMENTED, "there are no plans"),
    Case(
        "wikipedia",
        "error in a 200",
        Provenance.CONSTRUCTED,
        "a page of text",
        (Reply("<html><p>An error</p></html>"),),
    ),
    Case("wikipedia", "truncated", Provenance.CONSTRUCTED, "400 members", (Reply(hundreds(400)[:-40]),)),
)


def sp500() -> str:
    (path,) = shared_data("wikipedia").glob("*.html.gz")
    return gzip.decompress(path.read_bytes()).decode()


def test_the_real_page_of_the_sp500_is_read_in_full() -> None:
    members = {m.symbol: m for m in parse_members("SP500", sp500())}
    assert 500 <= len(members) <= 506
    assert members["BRK.B"].name == "Berkshire Hathaway"
    assert members["AAPL"] == Member(
        "AAPL", "Apple Inc.", "Information Technology", None, "Technology Hardware, Storage & Peripherals"
    )


@pytest.mark.parametrize(
    ("make", "first"),
    [
        (nasdaq, Member("AA", "AA Inc.", None, "Technology", "Software")),
        (nasdaq_formerly, Member("AA", "AA Inc.", "Health Care", None, "Biotechnology")),
    ],
)
def test_both_layouts_of_the_nasdaq_100_are_read(make: Callable[[], str], first: Member) -> None:
    members = parse_members("NASDAQ100", make())
    assert len(members) == 101
    assert members[0] == first


def test_the_dow_is_read() -> None:
    members = parse_members("DOW30", dow())
    assert len(members) == 30
    assert members[0] == Member("AA", "AA Co", None, "Banks", None)


@pytest.mark.parametrize(
    ("index", "text", "says"),
    [
        ("NASDAQ100", nasdaq(40), "40 members, fewer than 95"),
        ("DOW30", dow(29), "29 members"),
        ("SP500", page(), "no table on the page"),
        ("SP500", "<html><p>moved</p></html>", "has no table"),
        ("SP500", "", "has no table"),
        ("DOW30", dow().replace("<td>AB</td>", "<td>AA</td>"), "'AA' stands twice"),
        ("DOW30", dow().replace("<td>AB</td>", "<td></td>"), "row 2: None is no symbol"),
    ],
)
def test_a_page_that_can_not_be_the_index_is_refused(index: str, text: str, says: str) -> None:
    with pytest.raises(MalformedResponse, match=says):
        parse_members(index, text)


# --- over HTTP --------------------------------------------------------------------------------------------------------

AGENT = "test-agent/1.0 (operator@example.org)"


def case(situation: str) -> tuple[Reply, ...]:
    (found,) = [c for c in CASES if c.situation == situation]
    return found.replies


def members(index: str) -> Callable[[Wikipedia], Awaitable[ConstituentsAnswer]]:
    return lambda vendor: vendor.constituents(index, SESSION)


def told(access: Access) -> Wikipedia:
    return wikipedia.connect(replace(access, base_url=access.base_url + "/", user_agent=AGENT))


WIKIPEDIA = Asking(told)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", "2026-11-20T22:00:00Z")


def test_the_real_page_is_asked_for_once_by_a_client_that_says_who_it_is() -> None:
    asked = WIKIPEDIA.ask(in_order(Reply(sp500())), members("SP500"))
    answer = asked.value
    assert (answer.vendor, answer.index, answer.as_of_date) == ("wikipedia", "SP500", date(2026, 11, 20))
    assert answer.members == parse_members("SP500", sp500())
    assert asked.call.path == "/wiki/List_of_S&P_500_companies"
    assert asked.call.headers["User-Agent"] == AGENT
    assert [(t.capability, t.endpoint, t.error) for t in asked.meter.attempts] == [
        (Capability.CONSTITUENTS, "wiki", None)
    ]


@pytest.mark.parametrize(
    ("index", "path", "text", "count"),
    [
        ("NASDAQ100", "/wiki/Nasdaq-100", nasdaq(), 101),
        ("DOW30", "/wiki/Dow_Jones_Industrial_Average", dow(), 30),
    ],
)
def test_each_index_has_a_page_of_its_own(index: str, path: str, text: str, count: int) -> None:
    asked = WIKIPEDIA.ask(in_order(Reply(text)), members(index))
    assert (len(asked.value.members), asked.call.path) == (count, path)


def test_a_page_that_has_moved_is_followed_and_one_that_was_read_is_kept_for_a_day() -> None:
    async def twice(vendor: Wikipedia) -> int:
        return sum([len((await vendor.constituents("DOW30", SESSION)).members) for _ in range(2)])

    moved = Reply("", 301, {"Location": "/wiki/Dow_Jones"})
    asked = WIKIPEDIA.ask(
        lambda call: Reply(dow()) if call.path == "/wiki/Dow_Jones" else moved, twice, kept=KeptAnswers()
    )
    assert asked.value == 60
    assert asked.server.paths() == ["/wiki/Dow_Jones_Industrial_Average", "/wiki/Dow_Jones"]


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (*case("bad key"), AuthFailed, "QM_USER_AGENT"),
        (*case("rate limited"), RateLimited, "429"),
        (*case("error in a 200"), MalformedResponse, "no table"),
        (*case("truncated"), MalformedResponse, "fewer than 490"),
        (*case("empty"), MalformedResponse, "0 members"),
        (Reply("", 404), MalformedResponse, "404"),
        (Reply('{"error": "moved"}', 200, {"Content-Type": "application/json"}), MalformedResponse, "no table"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_a_refusal_or_a_page_that_is_no_list_is_a_typed_error(reply: Reply, kind: type[VendorError], says: str) -> None:
    error = WIKIPEDIA.fail(members("SP500"), reply)
    assert type(error) is kind
    assert says in str(error)


def test_how_long_to_wait_is_handed_on() -> None:
    error = WIKIPEDIA.fail(members("SP500"), Reply("", 429, {"Retry-After": "3600"}))
    assert isinstance(error, RateLimited)
    assert error.retry_after == 3600


def test_a_server_error_is_asked_again() -> None:
    asked = WIKIPEDIA.ask(in_order(Reply("", 503), Reply(dow())), members("DOW30"))
    assert len(asked.value.members) == 30
    assert [type(t.error) for t in asked.meter.attempts] == [VendorUnavailable, type(None)]


def test_an_index_without_a_page_is_refused_by_name_without_a_call() -> None:
    error = WIKIPEDIA.fail(members("R2000"), Reply(""), calls=0)
    assert isinstance(error, UnsupportedRequest)
    assert error.symbol == "R2000"  # of this index; the others are served
    assert "DOW30" in str(error)

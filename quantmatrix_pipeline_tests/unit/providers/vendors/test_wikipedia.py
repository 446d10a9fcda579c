"""Index members out of pages: the S&P 500 page is real, the others are constructed after the real tables' columns."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Sequence
from datetime import date
from string import ascii_uppercase

import pytest

from quantmatrix_pipeline.errors import (
    MalformedResponse,
    RateLimited,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import Member
from quantmatrix_pipeline.providers.vendors.wikipedia import WikipediaProvider, parse_members
from quantmatrix_pipeline_tests.shared_data import shared_data
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Call, Reply, replay

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


def test_the_page_is_asked_for_once_by_a_client_that_says_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", "2026-11-20T22:00:00Z")
    with replay(lambda _: Reply(nasdaq())) as server:
        provider = WikipediaProvider(server.url + "/", "test-agent/1.0 (operator@example.org)")
        answer = asyncio.run(provider.constituents("NASDAQ100", SESSION))
    assert (answer.vendor, answer.index, answer.as_of_date) == ("wikipedia", "NASDAQ100", date(2026, 11, 20))
    assert len(answer.members) == 101
    assert [c.path for c in server.calls] == ["/wiki/Nasdaq-100"]
    assert server.calls[0].headers["User-Agent"] == "test-agent/1.0 (operator@example.org)"


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (Reply("", 403), MalformedResponse, "QM_USER_AGENT"),
        (Reply("", 429, {"Retry-After": "30"}), RateLimited, "429"),
        (Reply("", 503), VendorUnavailable, "503"),
        (Reply("", 404), MalformedResponse, "404"),
    ],
)
def test_a_refusal_is_a_typed_error(reply: Reply, error: type[VendorError], says: str) -> None:
    def refuse(_: Call) -> Reply:
        return reply

    with replay(refuse) as server, pytest.raises(error, match=says) as caught:
        asyncio.run(WikipediaProvider(server.url, "x").constituents("SP500", SESSION))
    if isinstance(caught.value, RateLimited):
        assert caught.value.retry_after == 30


def test_no_connection_is_a_typed_error() -> None:
    with replay(lambda _: Reply("")) as gone:
        pass
    with pytest.raises(VendorUnavailable):
        asyncio.run(WikipediaProvider(gone.url, "x").constituents("SP500", SESSION))


def test_an_index_without_a_page_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedRequest, match="R2000"):
        asyncio.run(WikipediaProvider("http://127.0.0.1:9", "x").constituents("R2000", SESSION))

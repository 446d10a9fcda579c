"""Index members out of Wikipedia's tables: S&P 500, Nasdaq-100, Dow 30."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from types import MappingProxyType

import httpx
import pandas as pd
from lxml.etree import XMLSyntaxError

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.errors import (
    MalformedResponse,
    RateLimited,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import ConstituentsAnswer, DailyAnswer, Listing, Member
from quantmatrix_pipeline.providers.contract import BarRequest, Capability
from quantmatrix_pipeline.providers.symbols import canonical

VENDOR = "wikipedia"
TIMEOUT = 20.0  # seconds; the S&P 500 page is 1 MB
_FOOTNOTE = re.compile(r"\[[^\]]*\]")
_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "symbol": "symbol",
        "ticker": "symbol",
        "ticker symbol": "symbol",
        "security": "name",
        "company": "name",
        "gics sector": "sector",
        "icb industry": "industry",
        "industry": "industry",
        "gics sub-industry": "sub_industry",
        "icb subsector": "sub_industry",
    }
)


@dataclass(frozen=True, slots=True)
class _Page:
    path: str
    minimum: int  # fewer members than this is a broken page, not a change of the index


PAGES: Mapping[str, _Page] = MappingProxyType(
    {
        "SP500": _Page("/wiki/List_of_S%26P_500_companies", 490),
        "NASDAQ100": _Page("/wiki/Nasdaq-100", 95),
        "DOW30": _Page("/wiki/Dow_Jones_Industrial_Average", 30),
    }
)


class WikipediaProvider:
    """Serves index members, nothing else.

    Parameters
    ----------
    base_url
        The wiki's address, without a path.
    user_agent
        Sent with each request; Wikipedia answers 403 to libraries that don't say who they are.
    """

    name = VENDOR
    capabilities = frozenset({Capability.CONSTITUENTS})

    def __init__(self, base_url: str, user_agent: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._user_agent = user_agent

    def newest_session(self, closed: date) -> date:
        raise UnsupportedRequest(VENDOR, "has no bars")

    def listings(self) -> Sequence[Listing]:
        return []

    def daily_bars(self, requests: Sequence[BarRequest], *, concurrency: int) -> AsyncIterator[DailyAnswer]:
        raise UnsupportedRequest(VENDOR, "has no bars")

    async def constituents(self, index: str, session: date) -> ConstituentsAnswer:
        """Return the members of `index` as the page names them today, whatever the session.

        Raises
        ------
        UnsupportedRequest
            If there is no page for the index.
        RateLimited, VendorUnavailable, MalformedResponse
            If the page can't be had, or holds no table with a sane number of members.
        """
        page = PAGES.get(index)
        if page is None:
            raise UnsupportedRequest(VENDOR, f"has no table for {index}; known are {', '.join(PAGES)}")
        url = self._base_url + page.path
        headers = {"User-Agent": self._user_agent, "Accept": "text/html"}
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT, headers=headers, follow_redirects=True) as client:
                answer = await client.get(url)
        except httpx.HTTPError as error:
            raise VendorUnavailable(VENDOR, f"{url}: {type(error).__name__}: {error}") from error
        if answer.status_code != HTTPStatus.OK:
            raise _refused(url, answer)
        return ConstituentsAnswer(VENDOR, index, clock.now().date(), parse_members(index, answer.text))


def _refused(url: str, answer: httpx.Response) -> VendorError:
    status = answer.status_code
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = answer.headers.get("Retry-After", "")
        return RateLimited(
            VENDOR, f"{url}: 429, too many requests", retry_after=float(wait) if wait.isdigit() else None
        )
    if status == HTTPStatus.FORBIDDEN:
        return MalformedResponse(VENDOR, f"{url}: 403; set QM_USER_AGENT to one that says who you are")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return VendorUnavailable(VENDOR, f"{url}: {status}; try again later")
    return MalformedResponse(VENDOR, f"{url}: {status} instead of a page")


def parse_members(index: str, page: str) -> tuple[Member, ...]:
    """Read the members of `index` out of a page's text.

    Columns are found by their names, without footnote markers and in any order: the Nasdaq-100 table has borne two
    sets of them. The members' table is the one with a symbol and a name column and the most rows.

    Raises
    ------
    UnsupportedRequest
        If the index has no Wikipedia table.
    MalformedResponse
        If no table has both columns, a symbol can't be read, one stands twice, or members are too few.
    """
    known = PAGES.get(index)
    if known is None:
        raise UnsupportedRequest(VENDOR, f"has no table for {index}; known are {', '.join(PAGES)}")
    try:
        tables = pd.read_html(io.StringIO(page), flavor="lxml", keep_default_na=False)
    except (ValueError, XMLSyntaxError) as error:
        raise MalformedResponse(VENDOR, f"the page of {index} has no table: {str(error)[:120]}") from error
    fitting = [t for t in map(_named, tables) if {"symbol", "name"} <= set(t.columns)]
    if not fitting:
        raise MalformedResponse(VENDOR, f"no table on the page of {index} has a symbol and a company column")
    table = max(fitting, key=len)
    members: dict[str, Member] = {}
    for row, cells in enumerate(table.to_dict("records"), start=1):
        text = {str(column): _FOOTNOTE.sub("", str(cell)).strip() or None for column, cell in cells.items()}
        symbol = canonical(text["symbol"] or "")
        if symbol is None or symbol in members:
            what = "is no symbol" if symbol is None else "stands twice"
            raise MalformedResponse(VENDOR, f"the members' table of {index}, row {row}: {text['symbol']!r} {what}")
        rest = (text.get(c) for c in ("name", "sector", "industry", "sub_industry"))
        members[symbol] = Member(symbol, *rest)
    if len(members) < known.minimum:
        raise MalformedResponse(VENDOR, f"the page of {index} names {len(members)} members, fewer than {known.minimum}")
    return tuple(members.values())


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """Rename a table's columns to those of `Member`, each at most once; tables with two header rows are no members."""
    if isinstance(table.columns, pd.MultiIndex):
        return pd.DataFrame()
    names = [_HEADERS.get(_FOOTNOTE.sub("", str(c)).strip().lower(), "") for c in table.columns]
    chosen = {at: n for at, n in enumerate(names) if n and names.index(n) == at}
    return table.iloc[:, list(chosen)].set_axis(list(chosen.values()), axis="columns")

"""Index members out of Wikipedia's tables: S&P 500, Nasdaq-100, Dow 30."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from datetime import date
from http import HTTPStatus
from types import MappingProxyType

import pandas as pd
from lxml.etree import XMLSyntaxError

from quantmatrix_pipeline.errors import AuthFailed, MalformedResponse, VendorError
from quantmatrix_pipeline.providers.answers import ConstituentsAnswer, Member
from quantmatrix_pipeline.providers.contract import Capability, Offer
from quantmatrix_pipeline.providers.symbols import canonical
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor
from quantmatrix_pipeline.providers.vendors.shared.index_members import FEWEST, index_there

VENDOR = "wikipedia"
_DAY = 24 * 3600.0
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


PAGES: Mapping[str, str] = MappingProxyType(
    {
        "SP500": "/wiki/List_of_S%26P_500_companies",
        "NASDAQ100": "/wiki/Nasdaq-100",
        "DOW30": "/wiki/Dow_Jones_Industrial_Average",
    }
)


class Wikipedia(HttpVendor):
    """Serves the members of indexes as their pages name them today, whatever the session."""

    name = VENDOR

    async def constituents(self, index: str, session: date) -> ConstituentsAnswer:
        call = constituents_query(index)
        return await self.http.ask(call, lambda answer: read_constituents(index, answer))


def connect(access: Access) -> Wikipedia:
    """Return Wikipedia as the settings reach it; it refuses clients that don't say who they are."""
    headers = {"User-Agent": access.user_agent, "Accept": "text/html"}
    return Wikipedia(access.http(VENDOR, refusal, headers=headers), {Capability.CONSTITUENTS: Offer()})


def constituents_query(index: str) -> Call:
    """Transform a question for the members of an index.

    Raises
    ------
    UnsupportedRequest
        If there is no page for it.
    """
    path = index_there(VENDOR, PAGES, index)
    return Call(Capability.CONSTITUENTS, "wiki", path, symbol=index, keep_seconds=_DAY)


def read_constituents(index: str, answer: Answer) -> ConstituentsAnswer:
    """Transform a page into the members on the day on which it was read; raises as `parse_members` does."""
    members = parse_members(index, answer.content.decode(errors="replace"))
    return ConstituentsAnswer(VENDOR, index, answer.learned_at.date(), members)


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that a status stands for here, where it is not the usual one."""
    if answer.status == HTTPStatus.FORBIDDEN:
        return AuthFailed(VENDOR, f"{call.path}: HTTP 403; set QM_USER_AGENT to one that says who you are")
    return None


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
    index_there(VENDOR, PAGES, index)
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
    if len(members) < FEWEST[index]:
        raise MalformedResponse(VENDOR, f"the page of {index} names {len(members)} members, fewer than {FEWEST[index]}")
    return tuple(members.values())


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """Rename a table's columns to those of `Member`, each at most once; tables with two header rows are no members."""
    if isinstance(table.columns, pd.MultiIndex):
        return pd.DataFrame()
    names = [_HEADERS.get(_FOOTNOTE.sub("", str(c)).strip().lower(), "") for c in table.columns]
    chosen = {at: n for at, n in enumerate(names) if n and names.index(n) == at}
    return table.iloc[:, list(chosen)].set_axis(list(chosen.values()), axis="columns")

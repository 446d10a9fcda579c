"""The members of an index as a vendor lists them: each a symbol, none twice, and enough of them to be the index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from types import MappingProxyType

from quantmatrix_pipeline.errors import MalformedResponse, UnsupportedRequest
from quantmatrix_pipeline.providers.answers import ConstituentsAnswer, Member
from quantmatrix_pipeline.providers.symbols import from_vendor
from quantmatrix_pipeline.providers.transport.calls import Call

# Fewer members than this is a broken answer, not a change of the index.
FEWEST: Mapping[str, int] = MappingProxyType({"SP500": 490, "NASDAQ100": 95, "DOW30": 30})


def index_there(vendor: str, theirs: Mapping[str, str], index: str) -> str:
    """Return what an index is called by a vendor that calls the indexes as in `theirs`.

    Raises
    ------
    UnsupportedRequest
        If it has no such index; names it, or the error would say that there are no members of any index.
    """
    if index not in theirs:
        raise UnsupportedRequest(vendor, f"has the members of {', '.join(theirs)} only", symbol=index)
    return theirs[index]


def serve_members(
    vendor: str, call: Call, index: str, as_of_date: date, entries: Iterable[Member], entry: str = "row"
) -> ConstituentsAnswer:
    """Return the members of an index.

    Parameters
    ----------
    entries
        Members under the vendor's symbols, in its order.
    entry
        What one is called in an error.

    Raises
    ------
    MalformedResponse
        If it can't be the index: too few, one twice, one that is no symbol.
    """
    members: dict[str, Member] = {}
    for number, theirs in enumerate(entries, 1):
        try:
            symbol = from_vendor(vendor, theirs.symbol)
        except UnsupportedRequest as error:
            what = f"{call.endpoint}: {entry} {number}: {theirs.symbol[:40]!r} is no symbol"
            raise MalformedResponse(vendor, what, symbol=index) from error
        if symbol in members:
            raise MalformedResponse(vendor, f"{call.endpoint}: {theirs.symbol!r} stands twice", symbol=index)
        members[symbol] = replace(theirs, symbol=symbol)
    if len(members) < FEWEST[index]:
        what = f"{call.endpoint}: {len(members)} members, fewer than {FEWEST[index]}"
        raise MalformedResponse(vendor, what, symbol=index)
    return ConstituentsAnswer(vendor, index, as_of_date, tuple(members.values()))

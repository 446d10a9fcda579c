"""What an index must be before it is taken for one, and what a vendor says of one that it does not have."""

from __future__ import annotations

from datetime import date

import pytest

from quantmatrix_pipeline.errors import MalformedResponse, UnsupportedRequest
from quantmatrix_pipeline.providers.answers import Member
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.transport.calls import Call
from quantmatrix_pipeline.providers.vendors.shared.index_members import FEWEST, index_there, serve_members

DAY = date(2026, 11, 20)
CALL = Call(Capability.CONSTITUENTS, "members", "/members", symbol="DOW30")
DOW = [Member("BRK-B", "Berkshire", "Financials"), *(Member("AB"[i // 26] + chr(65 + i % 26)) for i in range(29))]


def test_members_get_their_canonical_symbols_and_keep_what_is_known_of_them() -> None:
    answer = serve_members("fmp", CALL, "DOW30", DAY, DOW)
    assert (answer.vendor, answer.index, answer.as_of_date, len(answer.members)) == ("fmp", "DOW30", DAY, 30)
    assert answer.members[0] == Member("BRK.B", "Berkshire", "Financials")


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (DOW[1:], "members: 29 members, fewer than 30"),
        ([*DOW, DOW[3]], "members: 'AC' stands twice"),
        ([*DOW, Member("no symbol!")], "members: row 31: 'no symbol!' is no symbol"),
    ],
)
def test_what_can_not_be_the_index_is_malformed(entries: list[Member], says: str) -> None:
    with pytest.raises(MalformedResponse, match=says) as caught:
        serve_members("fmp", CALL, "DOW30", DAY, entries)
    assert caught.value.symbol == "DOW30"


def test_an_index_that_a_vendor_does_not_have_is_refused_by_its_name() -> None:
    assert index_there("fmp", {"DOW30": "dowjones"}, "DOW30") == "dowjones"
    with pytest.raises(UnsupportedRequest, match="R2000: has the members of DOW30 only") as caught:
        index_there("fmp", {"DOW30": "dowjones"}, "R2000")
    assert caught.value.symbol == "R2000"  # without it, the plan would lack the members of all


@pytest.mark.parametrize(("index", "named"), [("SP500", 500), ("NASDAQ100", 100), ("DOW30", 30)])
def test_an_index_may_lack_a_few_of_the_members_that_its_name_says(index: str, named: int) -> None:
    assert 0.95 * named <= FEWEST[index] <= named

"""Refresh the members of the indexes: ask the sources in turn, believe only a plausible answer, keep spells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

from quantmatrix_pipeline.errors import MalformedResponse, UnsupportedRequest, VendorError, VendorUnavailable
from quantmatrix_pipeline.providers.answers import ConstituentsAnswer
from quantmatrix_pipeline.providers.contract import MemberSource
from quantmatrix_pipeline.warehouse import instruments, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse

# The fewest members with which an answer can be the whole index. A shorter one is a broken page, not a mass exodus.
PLAUSIBLE = {"SP500": 450, "NASDAQ100": 90, "DOW30": 25, "R2000": 1500}
INDEXES = tuple(PLAUSIBLE)

# An index that shrinks by more than this between two refreshes is not believed either.
MAX_SHRINK = 0.2

# A list without a date holds when it is read. It says nothing about who was a member on a session longer ago.
MAX_DAYS_UNDATED = 7


@dataclass(frozen=True, slots=True)
class IndexRefresh:
    """What became of one index in one refresh; `seen_on` is the day on which the list was true."""

    index: str
    seen_on: date
    fetched: int = 0
    inserted: int = 0
    reactivated: int = 0
    inactivated: int = 0
    provider_used: str | None = None
    fallback_used: bool = False
    note: str | None = None

    def as_row(self) -> dict[str, object]:
        return asdict(self)


async def refresh_index(
    warehouse: Warehouse, sources: Sequence[MemberSource], index: str, session: date, now: datetime
) -> IndexRefresh:
    """Ask the sources in order for the members of `index` on `session` and apply the first plausible answer.

    Spells bear the day on which the answer was true: a vendor that only knows today's list says nothing about an old
    session. Nothing is changed when no source serves the index, or when a later list was applied already: membership
    doesn't move backwards. The reasons are in the result's `note`; that a list came and was not believed is kept
    as well, until all that come are.
    """
    newest = universe.newest_refresh(warehouse, index)
    reasons: list[str] = []
    refused: list[str] = []
    for source in sources:
        try:
            answer = await source.constituents(index, session)
            require_plausible(answer, known=len(universe.active_members(warehouse, index)))
        except VendorError as error:
            # A source that never offered this index is no fallback; one whose plan lacks members is.
            if not (isinstance(error, UnsupportedRequest) and error.symbol == index):
                reasons.append(str(error))
            if isinstance(error, MalformedResponse):
                refused.append(str(error))
            continue
        if newest is not None and newest > answer.as_of_date:
            kept = f"{answer.vendor} answered for {answer.as_of_date}; kept the list of {newest}, which is later"
            return IndexRefresh(index, answer.as_of_date, note=kept)
        universe.keep_refusal(warehouse, index, session, refused, served_by=answer.vendor, now=now)
        ids = instruments.ensure(warehouse, [m.symbol for m in answer.members], answer.as_of_date)
        instruments.describe(
            warehouse,
            [
                {
                    "symbol": m.symbol,
                    "name": m.name,
                    "sector": m.sector,
                    "industry": m.industry,
                    "sub_industry": m.sub_industry,
                }
                for m in answer.members
            ],
        )
        note = "; ".join(reasons) or None
        change = universe.apply_members(
            warehouse,
            index,
            answer.as_of_date,
            list(ids.values()),
            provider_used=answer.vendor,
            fallback_used=bool(reasons),
            note=note,
            now=now,
            true_then=answer.dated or abs((now.date() - answer.as_of_date).days) <= MAX_DAYS_UNDATED,
        )
        return IndexRefresh(
            index,
            answer.as_of_date,
            change.fetched,
            change.inserted,
            change.reactivated,
            change.inactivated,
            answer.vendor,
            bool(reasons),
            note,
        )
    if refused:
        universe.keep_refusal(warehouse, index, session, refused, served_by=None, now=now)
    return IndexRefresh(index, session, note="; ".join(reasons) or "no configured source offers this index")


def require_plausible(answer: ConstituentsAnswer, known: int) -> None:
    """Refuse an answer that can't be the whole index, before anybody is marked as a leaver because of it.

    Raises
    ------
    MalformedResponse
        If it is shorter than `PLAUSIBLE`, or than what is known by more than `MAX_SHRINK`.
    """
    count = len({m.symbol for m in answer.members})
    least = max(PLAUSIBLE.get(answer.index, 1), int(known * (1 - MAX_SHRINK)))
    if count < least:
        raise MalformedResponse(
            answer.vendor,
            f"{answer.index} came with {count} members where at least {least} are plausible;"
            " nobody was marked as a leaver",
        )


async def refresh_indexes(
    warehouse: Warehouse, sources: Sequence[MemberSource], indexes: Sequence[str], session: date, now: datetime
) -> list[IndexRefresh]:
    """Refresh several indexes, one after the other; who can't be reached for one is not asked for the next."""
    reachable = [_Once(source) for source in sources]
    return [await refresh_index(warehouse, reachable, index, session, now) for index in indexes]


class _Once:
    """A source that says again, without being asked, that it can't be reached."""

    def __init__(self, source: MemberSource) -> None:
        self._source = source
        self._away: VendorUnavailable | None = None

    @property
    def name(self) -> str:
        return self._source.name

    async def constituents(self, index: str, session: date) -> ConstituentsAnswer:
        if self._away is not None:
            raise self._away
        try:
            return await self._source.constituents(index, session)
        except VendorUnavailable as error:
            if not error.reached:
                self._away = error
            raise

"""A second opinion on daily bars: asked of vendors other than those whose bars are in question, out of what is left.

Nothing waits for it. So a vendor that fails, or has no calls to spare, is passed over for the next, and what nobody
could be asked for is left for another night.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from quantmatrix_pipeline.errors import SymbolNotFound, UnsupportedRequest, VendorError
from quantmatrix_pipeline.providers.answers import DailyAnswer
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, Vendor
from quantmatrix_pipeline.providers.routing.router import Router
from quantmatrix_pipeline.providers.symbols import is_crypto

AT_ONCE = 4  # questions under way


@dataclass(frozen=True, slots=True)
class Question:
    """The bars of a symbol on these sessions, by anybody but `not_of`."""

    request: BarRequest
    not_of: frozenset[str]


@dataclass(slots=True)
class Opinions:
    """What came: answers with bars, who knew a symbol and had none of its bars, and who was asked of nobody."""

    answers: list[DailyAnswer] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    unasked: set[str] = field(default_factory=set)


async def second_opinions(router: Router, questions: Sequence[Question], share: float) -> Opinions:
    """Ask each question of the first vendor in order that may answer it.

    Parameters
    ----------
    router
        Open.
    questions
        At most one per symbol.
    share
        The part of a vendor's calls left of today that this may use.
    """
    found = Opinions()
    for capability, crypto in ((Capability.DAILY_BARS, False), (Capability.CRYPTO_DAILY, True)):
        left = {q.request.symbol: q for q in questions if is_crypto(q.request.symbol) is crypto}
        if left:
            await router.refresh(budgets_now=True)
            for name in router.rank(capability).order:
                await _ask(router, name, capability, left, share, found)
            found.unasked |= left.keys() - found.absent.keys()
    return found


async def _ask(
    router: Router, name: str, capability: Capability, left: dict[str, Question], share: float, found: Opinions
) -> None:
    """Ask one vendor for what it may be asked for; what it answers is taken out of `left`."""
    reach = router.reach(name, capability)
    first = np.datetime64("0001-01-01" if reach is None else reach, "D")
    mine = [
        BarRequest(q.request.symbol, sessions)
        for q in left.values()
        if name not in q.not_of and len(sessions := q.request.sessions[q.request.sessions >= first])
    ]
    most = router.offer(name, capability).symbols_per_call
    mine = mine[: router.symbols_within_budget(name, capability, share)]
    batches = deque(mine[start : start + most] for start in range(0, len(mine), most))
    heard = False  # the first question goes alone: what it says (not in the plan, bad key) may hold for all of them
    while batches:
        now = [batches.popleft() for _ in range(min(len(batches), AT_ONCE if heard else 1))]
        heard = True
        said = await asyncio.gather(*(_question(router, name, capability, batch) for batch in now))
        for batch, answer in zip(now, said, strict=True):
            if isinstance(answer, DailyAnswer):
                _take(name, batch, answer, left, found)
            elif not (isinstance(answer, SymbolNotFound | UnsupportedRequest) and answer.symbol):
                batches.clear()


async def _question(
    router: Router, name: str, capability: Capability, batch: Sequence[BarRequest]
) -> DailyAnswer | VendorError:
    async def question(vendor: Vendor) -> DailyAnswer:
        return await vendor.daily_bars(batch)

    try:
        return await router.ask(name, capability, question, symbols=len(batch))
    except VendorError as error:
        router.record.fell_back(name, capability, type(error).__name__)
        return error


def _take(
    name: str, batch: Sequence[BarRequest], answer: DailyAnswer, left: dict[str, Question], found: Opinions
) -> None:
    bars = answer.bars
    came = {bars.symbols[k] for k in np.unique(bars.symbol_index)}
    for symbol in (request.symbol for request in batch):
        if symbol in came:
            del left[symbol]
            found.absent.pop(symbol, None)
        elif symbol not in answer.failures:
            found.absent[symbol] = name  # and the next one is asked, who may have it
    if came:
        found.answers.append(answer)

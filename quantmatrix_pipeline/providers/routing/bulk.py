"""A night's daily bars, shared out among the vendors: by date where one call brings a market, then in batches, then one
by one.

Each symbol goes to the first vendor in order that has not failed it, reaches back far enough and has budget left; what
a vendor does not know, or does not have up to the last session, goes on to the next. What nobody serves ends as a
failure that says who was asked, and the next run asks again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from quantmatrix_pipeline.bars.batch import BarBatch, Basis, Dates
from quantmatrix_pipeline.errors import (
    AuthFailed,
    BudgetTooSmall,
    CircuitOpen,
    MalformedResponse,
    NobodyServes,
    NotServed,
    QuotaExhausted,
    RateLimited,
    StaleResponse,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
)
from quantmatrix_pipeline.providers.answers import ActionsAnswer, DailyAnswer
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, Vendor
from quantmatrix_pipeline.providers.symbols import is_crypto

if TYPE_CHECKING:
    from quantmatrix_pipeline.providers.routing.router import Router

log = logging.getLogger(__name__)

PART = 64  # symbols per part of an answer that came symbol by symbol
SESSIONS_PER_PART = 16  # sessions per part of an answer that came by date: a few, whatever the market's size
LEAST_SHARE = 0.1  # of the symbols, that a further whole-market call must serve
RECENT = 5  # sessions: what one vendor leaves out of them, others are asked for
LONG = 20  # sessions: from here on a late beginning may be the vendor's, not the instrument's
OVERLAP = timedelta(days=14)  # actions listed late, or not had on their night, come with a later one
AHEAD = 6  # whole-market questions under way or waiting to be written
TRIES = 3  # how often one question is put to a vendor that says "too many" and names a bearable pause
ACTIONS_STRETCH = 92  # days per whole-market question for splits or dividends


# Vendor, basis, its date and the first day asked for: answers that agree in them make one part.
_PROPER = (StaleResponse, SymbolNotFound, UnsupportedRequest)  # answers, and no reason to ask the same again
_Kind = tuple[str, Basis, date | None, date | None]
MarketActions = Callable[[date, date, Vendor], Awaitable[ActionsAnswer]]


@dataclass(slots=True, eq=False)
class _Wanted:
    """What is still wanted of one symbol, and what those said that did not serve it.

    `since` is the first of the sessions where earlier ones were served by somebody else: the next vendor is not asked
    for those, and its silence about them says nothing.
    """

    symbol: str
    sessions: Dates
    since: date | None = None
    said: dict[str, VendorError] = field(default_factory=dict)
    tries: int = 0
    gap: bool = False  # its newest bar came, and what is left was left out by who gave it

    def wanting(self, sessions: Dates) -> _Wanted:
        """Return the same symbol with these sessions left."""
        since = self.since if sessions[0] == self.sessions[0] else _day(sessions[0])
        return replace(self, sessions=sessions, since=since, tries=0)

    def request(self, since: date | None) -> BarRequest:
        sessions = self.sessions if since is None else self.sessions[self.sessions >= np.datetime64(since, "D")]
        return BarRequest(self.symbol, sessions)


class DailyFetch:
    """One fetch of daily bars through a router.

    Parameters
    ----------
    router
        Who may be asked, and in which order.
    requests
        At most one per symbol.
    concurrency
        Questions under way at once against one vendor.
    """

    def __init__(self, router: Router, requests: Sequence[BarRequest], concurrency: int) -> None:
        self._router = router
        self._concurrency = concurrency
        self._wanted = {r.symbol: _Wanted(r.symbol, r.sessions) for r in requests if len(r.sessions)}
        self._symbols = frozenset(self._wanted)
        self._crypto = frozenset(s for s in self._symbols if is_crypto(s))
        # Crypto has sessions on days on which nothing else has.
        self._newest = {
            crypto: max((w.sessions[-1] for w in self._left(crypto)), default=None) for crypto in (False, True)
        }
        self._parts: asyncio.Queue[DailyAnswer | None] = asyncio.Queue(maxsize=1)

    async def answers(self) -> AsyncGenerator[DailyAnswer, None]:
        """Yield parts as they arrive: grouped ones hold few sessions, ascending; others at most 64 symbols."""
        work = asyncio.create_task(self._work())
        try:
            while (part := await self._parts.get()) is not None:
                yield part
            await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _work(self) -> None:
        try:
            await self._by_date()
            for capability, crypto in ((Capability.DAILY_BARS, False), (Capability.CRYPTO_DAILY, True)):
                if left := self._left(crypto):
                    await self._router.refresh()  # what went by date has used up some of the budgets
                    newest = self._newest[crypto]
                    await _OneByOne(self._router, capability, left, self._concurrency, newest, self._parts).run()
        except Exception:
            await self._parts.put(None)  # whoever reads then hears of it; when cancelled, nobody reads any more
            raise
        await self._parts.put(None)

    def _left(self, crypto: bool) -> list[_Wanted]:
        return [w for s, w in sorted(self._wanted.items()) if (s in self._crypto) is crypto]

    # --- the whole market by date ----------------------------------------------------------------------------------

    async def _by_date(self) -> None:
        told = np.empty(0, "datetime64[D]")  # the sessions whose splits were asked for
        came = False
        ranking = self._router.rank(Capability.GROUPED_BARS)
        self._router.note_ranking(Capability.GROUPED_BARS, ranking, len(self._left(crypto=False)))
        for name in ranking.order:
            reach = self._router.reach(name, Capability.GROUPED_BARS)
            sessions = worth_grouping([w.request(reach) for w in self._left(crypto=False)])
            if not len(sessions):
                continue
            # Whole-market bars carry no actions. Splits come first, they explain jumps; dividends are many pages.
            if len(more := np.setdiff1d(sessions, told)):
                await self._actions(Capability.SPLITS, _market_splits, _day(more[0]), _day(more[-1]))
                told = np.union1d(told, more)
                await self._router.refresh(budgets_now=True)
            if (most := self._router.symbols_within_budget(name, Capability.GROUPED_BARS)) is not None:
                sessions = sessions[max(0, len(sessions) - most) :]  # the newest, where not all can be had in this run
            if not len(sessions):
                continue
            came |= await self._grouped(name, sessions)
        if came:
            await self._actions(Capability.DIVIDENDS, _market_dividends, _day(told[0]), _day(told[-1]))

    async def _grouped(self, name: str, sessions: Dates) -> bool:
        """Ask one vendor for these sessions in their order, until it fails; what came is no longer wanted.

        Returns whether anything came.
        """
        router, capability = self._router, Capability.GROUPED_BARS
        symbols = [w.symbol for w in self._left(crypto=False) if np.isin(w.sessions, sessions).any()]
        place = {s: i for i, s in enumerate(symbols)}
        last = np.full(len(symbols), np.datetime64("NaT"), "datetime64[D]")  # the last session that came
        asked: deque[asyncio.Task[DailyAnswer]] = deque()
        coming = iter(sessions)
        served: list[np.datetime64] = []
        part: list[DailyAnswer] = []
        failed: VendorError | None = None
        begun = _beginnings(sessions, [self._wanted[s].sessions for s in symbols])
        try:
            for day in sessions:
                # The first question goes alone: what it says (not in the plan, bad key) may hold for all of them.
                most = router.at_once(name, capability, min(AHEAD, self._concurrency) if served else 1)
                while len(asked) < most and (following := next(coming, None)) is not None:
                    asked.append(asyncio.create_task(self._session(name, _day(following), len(symbols))))
                try:
                    answer = await asked.popleft()
                except VendorError as error:
                    failed = error
                    break
                if not len(answer.bars):
                    failed = StaleResponse(name, f"has nothing of {day} yet")
                    break
                served.append(day)
                last[[place[s] for s in answer.bars.symbols if s in place]] = day
                answer = replace(answer, asked_from=begun[day])
                if part and (len(part) == SESSIONS_PER_PART or _kind(part[0]) != _kind(answer)):
                    await self._parts.put(_merged(part, part[0].asked_from))
                    part = []
                part.append(answer)
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        if part:
            await self._parts.put(_merged(part, part[0].asked_from))
        if failed is not None:
            router.record.fell_back(name, capability, type(failed).__name__, len(symbols))
        self._settle(name, symbols, last, np.array(served, "datetime64[D]"), failed)
        return bool(served)

    async def _session(self, name: str, day: date, symbols: int) -> DailyAnswer:
        tries = 1
        while True:
            try:
                return await self._router.ask(
                    name, Capability.GROUPED_BARS, lambda vendor: vendor.grouped_bars(day), symbols=symbols
                )
            except RateLimited as error:
                if tries == TRIES or not _bearable(error, self._router.patience()):
                    raise
                tries += 1  # its budget makes the next one wait

    def _settle(
        self, name: str, symbols: Sequence[str], came: Dates, served: Dates, failed: VendorError | None
    ) -> None:
        """Take from what is wanted whatever the served sessions brought, or proved not to be there."""
        newest = self._newest[False]
        expected = received = 0
        for symbol, last in zip(symbols, came, strict=True):
            wanted = self._wanted[symbol]
            answered = np.isin(wanted.sessions, served)
            # Of which nothing came at all, it is perhaps not known there: others are asked for all of it.
            left = wanted.sessions[~answered | (wanted.sessions > last) | np.isnat(last)]
            if answered[-1] and wanted.sessions[-1] == newest:
                expected += 1
                received += bool(last == newest)
            if len(left) == 0:
                del self._wanted[symbol]
                continue
            if answered.any() and left[-1] in served:
                wanted.said[name] = StaleResponse(name, "is not in the market's bars", symbol=symbol)
            elif failed is not None:
                # Under a name of its own: what hinders it by date need not hinder it symbol by symbol.
                wanted.said[f"{name} by date"] = failed
            self._wanted[symbol] = wanted.wanting(left)
        if expected and newest is not None:
            self._router.states.received(name, _day(newest), received, expected)

    async def _actions(self, capability: Capability, ask: MarketActions, first: date, last: date) -> None:
        """Bring the market's splits or dividends of these days, as far as anybody has them."""
        for since, until in _stretches(first - OVERLAP, last):
            try:
                found = await self._router.first_answer(
                    capability,
                    partial(ask, since, until),
                    f"the market's {capability} of {since}..{until}",
                    among=lambda offer: offer.whole_market,
                )
            except NobodyServes as error:
                log.warning("%s", error)
                self._router.record.left_undone(self._router.name, capability)
                return
            await self._parts.put(_only_actions(found.value, self._symbols))


class _OneByOne:
    """Symbols shared out among the vendors that answer for one symbol, or for several in one call."""

    def __init__(
        self,
        router: Router,
        capability: Capability,
        wanted: Sequence[_Wanted],
        concurrency: int,
        newest: np.datetime64 | None,
        parts: asyncio.Queue[DailyAnswer | None],
    ) -> None:
        self._router = router
        self._capability = capability
        self._concurrency = concurrency
        self._newest = newest
        self._parts = parts
        ranking = router.rank(capability)
        self._order = list(ranking.order)
        router.note_ranking(capability, ranking, len(wanted))
        self._skipped: Mapping[str, str] = ranking.skipped
        self._stopped: dict[str, VendorError] = {}
        self._queues: dict[str, deque[_Wanted]] = {name: deque() for name in self._order}
        self._room = {name: router.symbols_within_budget(name, capability) for name in self._order}
        self._collected: dict[_Kind, list[DailyAnswer]] = {}
        self._waiting: Counter[_Kind] = Counter()  # symbols in them
        self._undone: list[_Wanted] = []
        self._heard: set[str] = set()
        self._arrived: Counter[str] = Counter()
        self._expected: Counter[str] = Counter()
        # Those that want the same stretch stand together, so that a batch fetches no more than it must.
        items = deque(sorted(wanted, key=lambda w: (w.sessions[0], w.sessions[-1], w.symbol)))
        # A vendor that fell behind gets one short question, or it could never show that it recovered.
        for name in ranking.trials[: len(items) - 1]:
            if self._take_on(name, items[-1]):
                items.pop()
        for item in items:
            self._place(item)

    async def run(self) -> None:
        running: dict[asyncio.Task[DailyAnswer], tuple[str, list[_Wanted]]] = {}
        try:
            while True:
                for name, items in self._next_questions(running.values()):
                    running[asyncio.create_task(self._ask(name, items))] = (name, items)
                if not running:
                    break
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in [t for t in running if t in done]:  # in the order in which they were asked
                    name, items = running.pop(task)
                    self._heard.add(name)
                    try:
                        answer = task.result()
                    except VendorError as error:
                        self._failed(name, items, error)
                    else:
                        await self._answered(name, items, answer)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        for key in list(self._collected):
            await self._hand_over(key)
        if self._newest is not None:
            for name, expected in self._expected.items():
                self._router.states.received(name, _day(self._newest), self._arrived[name], expected)
        if self._undone:
            await self._parts.put(self._left_over())

    # --- who is asked ------------------------------------------------------------------------------------------------

    def _place(self, item: _Wanted) -> None:
        """Put a symbol into the queue of the first vendor that may still serve it, or among what is left undone."""
        first = item.sessions[0].item()
        whole = [n for n in self._order if (r := self._router.reach(n, self._capability)) is None or r <= first]
        partly = [n for n in self._order if n not in whole]  # who reaches the whole stretch goes before who doesn't
        if any(self._take_on(name, item) for name in (*whole, *partly)):
            return
        # A gap that all who know the symbol left out is none of this run's failures: nothing was traded, most likely.
        if not (item.gap and all(isinstance(e, _PROPER) for e in item.said.values())):
            self._undone.append(item)

    def _take_on(self, name: str, item: _Wanted) -> bool:
        """Queue a symbol with a vendor and say True, or note why that vendor can't serve it."""
        if name in item.said:
            return False
        reach, room = self._router.reach(name, self._capability), self._room[name]
        if (stopped := self._stopped.get(name)) is not None:
            item.said[name] = stopped
        elif not len(item.request(reach).sessions):
            item.said[name] = UnsupportedRequest(name, f"reaches back to {reach} only", symbol=item.symbol)
        elif room is not None and room < 1:
            item.said[name] = QuotaExhausted(name, "no budget left for it in this run", symbol=item.symbol)
            self._router.record.fell_back(name, self._capability, QuotaExhausted.__name__)
        else:
            if room is not None:
                self._room[name] = room - 1
            self._queues[name].append(item)
            return True
        return False

    def _next_questions(self, running: Iterable[tuple[str, list[_Wanted]]]) -> Iterator[tuple[str, list[_Wanted]]]:
        under_way = Counter(name for name, _ in running)
        for name in self._order:
            queue = self._queues[name]
            most = self._router.offer(name, self._capability).symbols_per_call
            # The first question goes alone: what it says (not in the plan, bad key) may hold for all of them.
            at_once = self._concurrency if name in self._heard else 1
            while queue and under_way[name] < self._router.at_once(name, self._capability, at_once):
                under_way[name] += 1
                items = [queue.popleft()]
                # What is asked for from another day on makes an answer of its own.
                while queue and len(items) < most and queue[0].since == items[0].since:
                    items.append(queue.popleft())
                yield name, items

    async def _ask(self, name: str, items: Sequence[_Wanted]) -> DailyAnswer:
        reach = self._router.reach(name, self._capability)
        requests = [item.request(reach) for item in items]

        async def question(vendor: Vendor) -> DailyAnswer:
            answer = await vendor.daily_bars(requests)
            if strange := set(answer.bars.symbols).difference(r.symbol for r in requests):
                asked = ", ".join(r.symbol for r in requests)
                raise MalformedResponse(name, f"asked for {asked}, answered with {', '.join(sorted(strange))}")
            return answer

        answer = await self._router.ask(name, self._capability, question, symbols=len(items))
        since = items[0].since
        if since is None and reach is None:
            return answer
        return replace(answer, asked_from=since if reach is None or (since is not None and since > reach) else reach)

    # --- what they say -----------------------------------------------------------------------------------------------

    async def _answered(self, name: str, items: Sequence[_Wanted], answer: DailyAnswer) -> None:
        bars, newest = answer.bars, self._newest
        days = {symbol: bars.session[bars.symbol_index == row] for row, symbol in enumerate(bars.symbols)}
        reach = self._router.reach(name, self._capability)
        for item in items:
            error = answer.failures.get(item.symbol)
            came = days.get(item.symbol, bars.session[:0])
            asked = item.request(reach).sessions
            due = asked[-1] == newest
            missed = due and not (came == newest).any()
            if due and not isinstance(error, SymbolNotFound):
                self._expected[name] += 1
                self._arrived[name] += not missed
            if error is not None:
                self._fall_back(name, item, error)
                continue
            left = item.sessions[: len(item.sessions) - len(asked)]  # older than the vendor reaches
            lacking = _lacking(asked, asked[np.isin(asked, came)], due)
            if missed or len(lacking):
                await self._router.forget(name, self._capability, item.symbol)
                what = f"asked for {asked[0]}..{asked[-1]}, left out {len(lacking)}, the last of them {lacking[-1]}"
                stale = StaleResponse(name, what, symbol=item.symbol)
                rest = replace(item.wanting(np.union1d(left, lacking)), gap=not missed)
                self._fall_back(name, rest, stale)
            elif len(left):
                item.said[name] = UnsupportedRequest(name, f"reaches back to {reach} only", symbol=item.symbol)
                self._place(item.wanting(left))
        # Failures go on to the next vendor; what stays in the answer is what it brought.
        key = _kind(answer)
        self._collected.setdefault(key, []).append(replace(answer, failures={}) if answer.failures else answer)
        self._waiting[key] += len(bars.symbols) + len(answer.silent)
        if self._waiting[key] >= PART:
            await self._hand_over(key)

    def _failed(self, name: str, items: Sequence[_Wanted], error: VendorError) -> None:
        again = isinstance(error, RateLimited) and _bearable(error, self._router.patience())
        if again and all(item.tries + 1 < TRIES for item in items):
            for item in reversed(items):
                item.tries += 1
                self._queues[name].appendleft(item)  # its budget makes it wait
            return
        whole = isinstance(error, (AuthFailed, BudgetTooSmall, CircuitOpen, RateLimited, QuotaExhausted)) or (
            isinstance(error, UnsupportedRequest) and error.symbol is None
        )
        if whole or self._router.refuses(name, self._capability):
            self._stopped[name] = error
        for item in items:
            self._fall_back(name, item, error)
        if name in self._stopped:
            rest, self._queues[name] = self._queues[name], deque()
            for item in rest:
                self._fall_back(name, item, error)

    def _fall_back(self, name: str, item: _Wanted, error: VendorError) -> None:
        item.said[name] = error
        item.tries = 0
        self._router.record.fell_back(name, self._capability, type(error).__name__)
        self._place(item)

    # --- what is handed over -----------------------------------------------------------------------------------------

    async def _hand_over(self, key: _Kind) -> None:
        answers = self._collected.pop(key, [])
        self._waiting.pop(key, None)
        if answers:
            await self._parts.put(_merged(answers, answers[0].asked_from))

    def _left_over(self) -> DailyAnswer:
        failures: dict[str, VendorError] = {}
        for item in self._undone:
            said = "; ".join(dict.fromkeys(str(e) for e in item.said.values()))
            skipped = "; ".join(f"{name}: {why}" for name, why in self._skipped.items())
            what = "; ".join(text for text in (said, skipped) if text) or "no vendor is configured for it"
            errors = list(item.said.values())
            unknown = bool(errors) and all(isinstance(e, SymbolNotFound) for e in errors)
            kind = SymbolNotFound if unknown else NotServed
            failures[item.symbol] = kind(self._router.name, what, symbol=item.symbol)
            self._router.record.left_undone(errors[-1].vendor if errors else self._router.name, self._capability)
        return DailyAnswer(self._router.name, Basis.RAW, None, BarBatch.empty(), failures=failures)


def _lacking(asked: Dates, had: Dates, due: bool) -> Dates:
    """Return the sessions of an answer's gaps for which others are asked.

    Where the newest session is due: all after the last bar, and what is missing of the last few. Of a long stretch also
    all before the first bar: the vendor may know the instrument only since it bears its name. Older gaps are mostly
    days without trade, and would cost every vendor a call each night.
    """
    gaps = np.setdiff1d(asked, had)
    if not len(had):
        return gaps if due else gaps[:0]
    recent = (gaps > had[-1]) | (gaps >= asked[-RECENT:][0])
    early = (gaps < had[0]) & (len(asked) >= LONG)
    found: Dates = gaps[(recent & due) | early]
    return found


def worth_grouping(requests: Sequence[BarRequest]) -> Dates:
    """Return the sessions, ascending, of which the whole market costs fewer calls than their symbols one by one.

    Symbols that want the same sessions are taken together: their sessions are worth it where they are fewer than the
    symbols, not counting sessions that are taken already. So three newcomers with five years to fetch don't keep the
    other five hundred from being served by one call. Beyond the first such group a call must serve a tenth of all
    symbols: an old hole of two of them is not worth a market's call every night.
    """
    patterns: dict[bytes, tuple[Dates, int]] = {}
    for request in requests:
        if len(request.sessions):
            sessions, symbols = patterns.get(key := request.sessions.tobytes(), (request.sessions, 0))
            patterns[key] = (sessions, symbols + 1)
    taken = np.empty(0, "datetime64[D]")
    for sessions, symbols in sorted(patterns.values(), key=lambda p: (len(p[0]) / p[1], p[0][0])):
        more = np.setdiff1d(sessions, taken)
        if len(more) < symbols and (not len(taken) or symbols >= LEAST_SHARE * len(requests)):
            taken = np.union1d(taken, more)
    return taken


async def _market_splits(first: date, last: date, vendor: Vendor) -> ActionsAnswer:
    return await vendor.splits(None, first, last)


async def _market_dividends(first: date, last: date, vendor: Vendor) -> ActionsAnswer:
    return await vendor.dividends(None, first, last)


def _beginnings(sessions: Dates, wanted: Sequence[Dates]) -> dict[np.datetime64, date]:
    """Return for each session asked for the one since which none was left out that anybody wants.

    What lies before says nothing of those left out in between.
    """
    every = np.unique(np.concatenate([*wanted, sessions]))
    begun: dict[np.datetime64, date] = {}
    for k, at in enumerate(np.searchsorted(every, sessions)):
        goes_on = k > 0 and every[at - 1] == sessions[k - 1]
        begun[sessions[k]] = begun[sessions[k - 1]] if goes_on else _day(sessions[k])
    return begun


def _bearable(error: RateLimited, patience: float) -> bool:
    """Say whether a vendor that said "too many" can be asked again within `patience` seconds."""
    return (60.0 if error.retry_after is None else error.retry_after) <= patience


def _day(session: np.datetime64) -> date:
    day: date = session.astype("datetime64[D]").item()
    return day


def _stretches(first: date, last: date) -> Iterator[tuple[date, date]]:
    """Cut [first, last], both inclusive, into stretches that a vendor answers in few pages."""
    while first <= last:
        end = min(last, first + timedelta(days=ACTIONS_STRETCH - 1))
        yield first, end
        first = end + timedelta(days=1)


def _only_actions(found: ActionsAnswer, wanted: Container[str]) -> DailyAnswer:
    """Return the actions of the wanted symbols as a part without bars."""
    return DailyAnswer(
        found.vendor,
        Basis.RAW,
        None,
        BarBatch.empty(),
        splits=tuple(s for s in found.splits if s.symbol in wanted),
        dividends=tuple(d for d in found.dividends if d.symbol in wanted),
    )


def _kind(answer: DailyAnswer) -> _Kind:
    return answer.vendor, answer.basis, answer.basis_date, answer.asked_from


def _merged(answers: Sequence[DailyAnswer], asked_from: date | None) -> DailyAnswer:
    """Join answers of one vendor on one basis."""
    return DailyAnswer(
        answers[0].vendor,
        answers[0].basis,
        answers[0].basis_date,
        BarBatch.concat([a.bars for a in answers if len(a.bars)]),
        tuple(s for a in answers for s in a.splits),
        tuple(d for a in answers for d in a.dividends),
        tuple(u for a in answers for u in a.unreadable),
        silent=tuple(s for a in answers for s in a.silent),
        learned_at=answers[-1].learned_at,
        asked_from=asked_from,
        splits_told={symbol: span for a in answers for symbol, span in a.splits_told.items()},
    )

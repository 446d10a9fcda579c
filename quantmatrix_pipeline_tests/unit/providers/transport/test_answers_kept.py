"""Answers are served again for as long as they may be, in this process or, through a real Redis, in all."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from quantmatrix_pipeline.errors import MalformedResponse
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.transport.answers_kept import KeptAnswers
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.http import Http
from quantmatrix_pipeline_tests.redis_server import RedisServer, redis_server
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Reply, replay

__all__ = ["redis_server"]

CALL = Call(Capability.DAILY_BARS, "bars", "/bars", {"from": "1", "to": "2"}, symbol="BRK.B", keep_seconds=60)
ANSWER = Answer(200, {"x": "y"}, b'{"a": 1}', datetime(2026, 11, 20, 21, 30, tzinfo=UTC))


def find(kept: KeptAnswers, vendor: str = "v", call: Call = CALL) -> Answer | None:
    return asyncio.run(kept.find(vendor, call))


def put(kept: KeptAnswers, call: Call = CALL, answer: Answer = ANSWER) -> None:
    asyncio.run(kept.put("v", call, answer))


def different_calls() -> list[Call]:
    return [
        replace(CALL, params={"from": "1", "to": "3"}),
        replace(CALL, path="/bars/1m"),
        replace(CALL, symbol="BRK.A"),
        replace(CALL, capability=Capability.BARS_5M),
    ]


def test_an_answer_is_found_by_what_was_asked_of_whom_and_by_nothing_else() -> None:
    kept = KeptAnswers()
    put(kept)
    assert find(kept, call=replace(CALL, params={"to": "2", "from": "1"})) == ANSWER
    assert find(kept, "w") is None
    assert [find(kept, call=call) for call in different_calls()] == [None] * 4


def test_an_answer_is_gone_when_its_time_is_over() -> None:
    kept = KeptAnswers()

    async def main() -> tuple[Answer | None, Answer | None]:
        call = replace(CALL, keep_seconds=0.05)
        await kept.put("v", call, ANSWER)
        before = await kept.find("v", call)
        await asyncio.sleep(0.06)
        return before, await kept.find("v", call)

    assert asyncio.run(main()) == (ANSWER, None)
    assert kept._bytes == 0


def test_what_was_used_longest_ago_makes_room_for_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantmatrix_pipeline.providers.transport.answers_kept.MOST_BYTES", 4000)
    kept, body = KeptAnswers(), bytes(1000)
    calls = [replace(CALL, path=f"/{n}") for n in range(5)]
    for call in calls[:4]:
        put(kept, call, replace(ANSWER, content=body))
    assert find(kept, call=calls[0]) is not None
    put(kept, calls[4], replace(ANSWER, content=body))
    assert [find(kept, call=call) is not None for call in calls] == [True, False, True, True, True]
    put(kept, calls[4], ANSWER)  # in place of the large one
    assert kept._bytes == 3 * len(body) + len(ANSWER.content)


def test_through_redis_another_process_finds_it_with_when_it_was_learned(redis_server: RedisServer) -> None:
    one, other = KeptAnswers(redis_server.client), KeptAnswers(redis_server.client)
    put(one)
    assert find(other) == ANSWER
    assert [find(other, call=call) for call in different_calls()] == [None] * 4
    (name,) = redis_server.client.keys("*")  # type: ignore[misc,union-attr]
    assert b"v:daily_bars:BRK.B:" in name
    assert 0 < redis_server.client.pttl(name) <= 60_000  # type: ignore[operator]


def test_what_redis_holds_broken_and_a_redis_that_is_gone_cost_no_more_than_a_call(redis_server: RedisServer) -> None:
    kept = KeptAnswers(redis_server.client)
    put(kept)
    (name,) = redis_server.client.keys("*")  # type: ignore[misc,union-attr]
    redis_server.client.set(name, b"no such thing")
    assert find(kept) is None
    redis_server.kill()
    put(kept)
    started = time.monotonic()
    assert [find(kept) for _ in range(20)] == [None] * 20
    put(kept)
    assert time.monotonic() - started < 1


def test_a_kept_answer_costs_no_call_and_no_budget_and_one_that_could_not_be_read_is_not_kept() -> None:
    def unreadable(_: Answer) -> str:
        raise MalformedResponse("v", "-")

    with replay(lambda _: Reply("fine")) as server:
        meter = Recording()
        http = Http("v", server.url, meter, lambda *_: None, kept=KeptAnswers())

        async def main() -> list[str]:
            await http.open()
            with pytest.raises(MalformedResponse):
                await http.ask(CALL, unreadable)
            answers = [await http.ask(CALL, lambda a: a.text()) for _ in range(3)]
            answers.append(await http.ask(replace(CALL, keep_seconds=0), lambda a: a.text()))
            await http.close()
            return answers

        assert asyncio.run(main()) == ["fine"] * 4
        assert len(server.calls) == len(meter.weights) == 3


@pytest.mark.parametrize("shared", [False, True])
def test_an_answer_that_ended_too_early_is_forgotten_alone_or_among_others(
    redis_server: RedisServer, shared: bool
) -> None:
    kept = KeptAnswers(redis_server.client if shared else None)
    unnamed, batch, other = (replace(CALL, symbol=symbol) for symbol in (None, "AAPL, BRK.B", "BRK.A"))
    for call in (CALL, unnamed, batch, other):
        put(kept, call)
    asyncio.run(kept.forget("v", Capability.DAILY_BARS, "BRK.B"))
    assert [find(kept, call=call) for call in (CALL, unnamed, batch, other)] == [None, None, None, ANSWER]

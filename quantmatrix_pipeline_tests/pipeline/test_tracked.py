"""What the platform follows, and how it tells others through Redis."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.universe.tracking import watch
from quantmatrix_pipeline.warehouse import instruments, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, Outcome, sessions, walk

DAYS = sessions("2021-12-31", 30)
TONIGHT, LAST_NIGHT = DAYS[-1], DAYS[-2]
DOW = [f"DJ{chr(65 + n // 10)}{chr(65 + n % 10)}" for n in range(30)]
DAY = 24 * 3600


def with_dow(folder: Folder, members: list[str] = DOW) -> None:
    folder.write(walk(["AAA", "SPY"], DAYS), constituents={"DOW30": "symbol\n" + "\n".join(members) + "\n"})


def new(done: Outcome) -> str:
    assert done.success, done.errors
    return str(done.facts["tracked_universe"]["new_symbols"])


def reasons(warehouse: Warehouse) -> dict[str, list[str]]:
    rows = warehouse.rows(
        "SELECT symbol, reasons FROM symbol_universe JOIN instrument_symbols USING (instrument_id) WHERE active"
    )
    return {row.symbol: list(row.reasons) for row in rows}


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A real Redis on a free port of this machine, without a file."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian's package redis-server)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port)
    try:
        for _ in range(200):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        client.close()
        server.terminate()
        server.wait(10)


def test_the_benchmark_is_tracked_always_and_a_folders_symbols_only_where_no_index_says_what_to_follow(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    folder.write(walk(["AAA", "BBB"], DAYS))
    assert new(chain.run(LAST_NIGHT, job="refresh_constituents")) == "AAA, BBB, SPY"
    assert reasons(warehouse) == {"AAA": ["source"], "BBB": ["source"], "SPY": ["benchmark"]}


def test_with_an_index_only_its_members_and_the_benchmark_are_tracked(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    with_dow(folder)
    done = chain.run(TONIGHT, job="refresh_constituents")
    assert done.facts["tracked_universe"]["dagster/row_count"] == 31
    assert reasons(warehouse) == {**{member: ["index:DOW30"] for member in DOW}, "SPY": ["benchmark"]}
    assert done.rows("tracked_universe", "by_reason") == [
        {"reason": "benchmark", "instruments": 1},
        {"reason": "index", "instruments": 30},
    ]


def test_new_is_what_was_not_tracked_the_night_before(chain: Chain, folder: Folder) -> None:
    with_dow(folder, DOW[1:])
    chain.run(LAST_NIGHT, job="refresh_constituents")
    with_dow(folder)
    assert new(chain.run(TONIGHT, job="refresh_constituents")) == DOW[0]


def test_a_watched_symbol_is_tracked_and_leaves_with_the_watch_list_where_nothing_else_holds_it(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    with_dow(folder)
    chain.run(LAST_NIGHT, job="refresh_constituents")
    assert watch(warehouse, ["AAA", DOW[0]], clock.now()) == 2
    assert watch(warehouse, ["AAA"], clock.now()) == 0
    assert new(chain.run(TONIGHT)) == "AAA"
    assert reasons(warehouse)["AAA"] == ["watch_list"]
    assert reasons(warehouse)[DOW[0]] == ["index:DOW30", "watch_list"]
    assert warehouse.scalar("SELECT count(*) FROM bars WHERE symbol = 'AAA'") == 30

    watched = instruments.ids(warehouse, ["AAA", DOW[0]])
    assert universe.unwatch(warehouse, list(watched.values())) == 2
    assert chain.run(TONIGHT, job="refresh_constituents").success
    assert "AAA" not in reasons(warehouse)
    assert reasons(warehouse)[DOW[0]] == ["index:DOW30"]
    assert warehouse.scalar("SELECT count(*) FROM bars WHERE symbol = 'AAA'") == 30, "its bars stay"


def test_who_is_watched_again_after_a_while_is_new_again(chain: Chain, folder: Folder, warehouse: Warehouse) -> None:
    with_dow(folder)
    watch(warehouse, ["AAA"], clock.now())
    chain.run(DAYS[-3], job="refresh_constituents")
    universe.unwatch(warehouse, list(instruments.ids(warehouse, ["AAA"]).values()))
    chain.run(LAST_NIGHT, job="refresh_constituents")
    watch(warehouse, ["AAA"], clock.now())
    assert new(chain.run(TONIGHT, job="refresh_constituents")) == "AAA"


def test_a_delisted_instrument_is_asked_for_no_more_and_counted_apart(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    bars = walk(["AAA", "BBB", "SPY"], DAYS)
    gone = DAYS[20]
    folder.write(
        bars[(bars["symbol"] != "BBB") | (bars["date"] < gone)],
        instruments=f"symbol,name,delisted_on\nBBB,Gone Inc.,{gone}\n",
    )
    done = chain.run(TONIGHT)
    assert done.facts["daily_bars"]["asked"] == f"3 symbols, 80 sessions, {DAYS[0]}..{TONIGHT}"
    assert done.facts["coverage_report"]["headline"] == f"{TONIGHT} ok: 2 of 2 instruments fresh (100.0%)"
    (report,) = warehouse.rows("SELECT tracked_count, expected, report FROM coverage_snapshots")
    assert (report.tracked_count, report.expected, report.report["delisted"]) == (3, 2, 1)
    assert chain.run(TONIGHT).facts["daily_bars"]["asked"].startswith("0 symbols, 0 sessions")


def test_redis_holds_the_keys_that_users_know_after_a_run(
    chain: Chain, folder: Folder, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_REDIS_URL", redis_url)
    with_dow(folder)
    assert chain.run(TONIGHT).success
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        ours = [key for key in client.scan_iter() if not key.startswith("provider_budget:")]
        assert sorted(ours) == [
            "coverage:health:last",
            "index_constituents:DOW30:meta",
            "providers:health",  # Wikipedia was asked for the other indexes
            "tracked:all",
            "tracked:new",
        ]
        assert json.loads(client.get("tracked:all")) == sorted([*DOW, "SPY"])
        assert json.loads(client.get("tracked:new")) == sorted([*DOW, "SPY"])
        assert DAY - 600 < client.ttl("tracked:new") <= DAY
        assert client.ttl("tracked:all") == client.ttl("coverage:health:last") == -1
        members = json.loads(client.get("index_constituents:DOW30:meta"))
        assert (members["index"], members["fetched"], members["provider_used"]) == ("DOW30", 30, "files")
        health = json.loads(client.get("coverage:health:last"))
    assert (health["session"], health["status"]) == (str(TONIGHT), "degraded")
    assert health["headline"].startswith(f"{TONIGHT} degraded: 1 of 31 instruments fresh")
    assert (health["daily"]["count"], health["daily"]["freshness"]["none"]) == (1, 30)
    assert health["by_index"]["DOW30"] == {"<=24h": 0, "24-48h": 0, ">48h": 0, "none": 30}
    assert (health["m5"]["enabled"], health["m5"]["count"]) == (False, 0)
    assert (health["snapshot"]["daily"]["count"], health["snapshot"]["status"]["label"]) == (1, "degraded")
    assert health["snapshot"]["indices"] == {"DOW30": 30}


def test_a_redis_that_does_not_answer_harms_no_run(
    chain: Chain, folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("QM_REDIS_URL", "redis://:secret-word@127.0.0.1:9/0")
    folder.write(walk(["AAA", "SPY"], DAYS))
    done = chain.run(TONIGHT)
    assert done.success, done.errors
    assert done.facts["coverage_report"]["headline"].startswith(f"{TONIGHT} ok")
    told = "Redis did not take "
    warned = [r.getMessage().removeprefix(told) for r in caplog.records if r.getMessage().startswith(told)]
    for key in ("providers:health", "tracked:all", "tracked:new", "coverage:health:last"):
        assert sum(message.startswith(key) for message in warned) == 1, (key, warned)
    assert "secret-word" not in caplog.text

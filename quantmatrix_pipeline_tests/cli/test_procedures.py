"""Each procedure of docs/operations.md (Alerts, Symptoms) does what it says: what it is about is broken for real, its
commands are run and its jobs pressed in the order of the page, and then it is whole. Where breaking it costs minutes or
is another test's, the procedure at least runs as it stands, jobs and all.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import yaml
from dagster import DagsterInstance
from pydantic import SecretStr

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.alerts.runbook import CHECKS, KINDS
from quantmatrix_pipeline.alerts.troubles import Kind
from quantmatrix_pipeline.coverage.attempts import STALE, Attempts, beat, given_up
from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.health.unattended import WATCH
from quantmatrix_pipeline.providers.routing.assemble import key_mark
from quantmatrix_pipeline.warehouse import coverage, vendor_budgets
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.cli.conftest import Installation
from quantmatrix_pipeline_tests.cli.manual import (
    ALERTS,
    MANUAL,
    PROCEDURES,
    ROOT,
    SYMPTOMS,
    Operator,
    anchor,
    commands,
    jobs,
)
from quantmatrix_pipeline_tests.conftest import _database
from quantmatrix_pipeline_tests.pipeline.ticks import Sensor
from quantmatrix_pipeline_tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]

NOTICED = (
    "0 members", "over 48 hours", "five minutes at 0", "worker is offline", "Every vendor", "Gaps stay", "lags",
    "Redis", "No data", "Rate limited", "database is away", "API does not start", "backfill stands", "Queries are slow",
)  # fmt: skip
NOTHING_TO_PRESS = {
    "A run takes long", "The ticks of a schedule or sensor fail", "Bars of five minutes at 0", "The API does not start",
}  # fmt: skip
# The doctor finds no daemon here, and the log of a server that is not embedded is not ours; the rest ends with 0.
MAY_END_WITH = {"qm doctor": 1, "qm logs database": 2}


# --- what stands on the page ----------------------------------------------------------------------------------------


def test_there_is_a_procedure_for_each_symptom_that_people_notice() -> None:
    assert len(SYMPTOMS) == len(NOTICED)
    for words in NOTICED:
        assert [heading for heading in SYMPTOMS if words in heading], words


def test_each_procedure_names_a_job_that_exists_or_leads_to_the_one_that_does() -> None:
    known = {job.name for job in build_defs().resolve_all_job_defs()}
    to_symptoms = {f"](#{anchor(heading)})" for heading in SYMPTOMS}
    for heading, text in PROCEDURES.items():
        assert set(jobs(heading)) <= known, heading
        leads = any(link in text for link in to_symptoms)
        assert jobs(heading) or (leads and heading in ALERTS) or heading in NOTHING_TO_PRESS, heading
        assert commands(heading) or heading in ALERTS, heading


def test_each_alert_rule_leads_to_a_heading_that_exists_once() -> None:
    anchors = [anchor(heading) for heading in re.findall(r"^#+ (.+)$", MANUAL, re.M)]
    assert sorted({a for a in anchors if anchors.count(a) > 1}) == []
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    leads = {rule["alert"]: rule["annotations"]["runbook_url"].partition("/operations.md#")[2] for rule in rules}
    assert set(leads.values()) <= set(anchors)
    assert leads["RunsFail"] == KINDS[Kind.FAILED_RUN]
    assert leads["CoverageBelowTarget"] == CHECKS["coverage_report.coverage_at_target"]


# --- what it does ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def operator(
    filled: Installation, server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """At a copy of the filled installation, to be broken, with the logs that `qm up` leaves."""
    data_dir = tmp_path_factory.mktemp("procedures")
    (data_dir / "logs").mkdir()
    for name in ("api", "ui", "daemon"):
        (data_dir / "logs" / f"{name}.log").write_text("started\n")
    (data_dir / "settings").touch()
    files = data_dir / "files"
    shutil.copytree(filled.folder.path, files)
    with contextmanager(_database)(server, filled.url.rsplit("/", 1)[1]) as url, DagsterInstance.ephemeral() as dagster:
        more = {"QM_ENV_FILE": str(data_dir / "settings"), "QM_COVERAGE_TARGET": "0.5"}
        own = Installation(replace(filled.folder, path=files), url, data_dir, more)
        warehouse = Warehouse(url)
        yield Operator(own, server, build_defs(), dagster, MAY_END_WITH, warehouse)
        warehouse.close()


@pytest.fixture(scope="module")
def bars(operator: Operator) -> dict[str, int]:
    """Session -> its bars, before anything is broken."""
    rows = operator.warehouse.rows("SELECT session, count(*) AS bars FROM price_data_1d GROUP BY session")
    return {str(row.session): row.bars for row in rows}


@pytest.fixture(scope="module")
def well(operator: Operator) -> str:
    """The first line of `qm status` as long as nothing is broken: GHOST is a member of the index that no file knows."""
    return f"{operator.own.folder.sessions[-1]} degraded: 1 without any bar: GHOST -> press backfill_stale_daily"


def broken(operator: Operator, statement: str) -> None:
    assert operator.sql(statement) > 0, statement


def stored(operator: Operator, *sessions: str) -> list[int]:
    """Return how many bars each of these sessions has."""
    return [operator.scalar(f"SELECT count(*) FROM price_data_1d WHERE session = '{day}'") for day in sessions]


def test_members_that_are_gone_come_back(operator: Operator, well: str) -> None:
    broken(operator, "UPDATE index_constituents SET is_active = false, became_inactive_at = last_seen")
    operator.press("refresh_coverage")
    assert re.search(r"no members of DOW30.* -> press refresh_constituents$", operator.status())
    members: dict[str, int] = {}

    def count(job: str) -> None:
        members[job] = operator.scalar("SELECT count(*) FROM index_constituents WHERE is_active")

    operator.follow("An index has 0 members", after_each=count)
    assert members == {"refresh_constituents": 30, "restore_daily_coverage": 30}
    assert operator.status() == well


def test_bars_that_are_missing_are_fetched_and_vendors_are_asked_again(operator: Operator, well: str) -> None:
    newest = "(SELECT max(session) FROM price_data_1d)"
    tracked = "(SELECT instrument_id FROM symbol_universe ORDER BY instrument_id OFFSET {} LIMIT {})"
    broken(
        operator, f"DELETE FROM price_data_1d WHERE session > {newest} - 3 AND instrument_id IN {tracked.format(0, 8)}"
    )
    broken(operator, f"DELETE FROM price_data_1d WHERE session = {newest} AND instrument_id IN {tracked.format(8, 6)}")
    session = operator.own.folder.sessions[-1]
    with operator.settings():
        attempts = Attempts(str(session), "x", clock.now().isoformat(), 3).given_up("3 backfills did not help")
        beat(operator.warehouse, STALE, attempts, clock.now())
    the_old_key_is_refused_and_a_day_is_used_up(operator)
    operator.press("refresh_coverage")
    assert re.search(r"degraded: [78] over 48h: .* -> press backfill_stale_daily$", operator.status())
    assert {"nothing_over_48h", "row_count_against_yesterday", "backfills_get_on"} <= operator.failing()
    polygon, alpha = operator.vendor("polygon"), operator.vendor("alpha_vantage")
    assert (polygon["state"], alpha["left_today"]) == ("open", 0)

    settings = operator.own.data_dir / "settings"
    settings.write_text("POLYGON_API_KEY=another\nALPHA_VANTAGE_API_KEY=key\nQM_ALPHA_VANTAGE_BUDGET=75/min 500/day\n")
    headings = ("Many symbols over 48 hours", "Tonight has fewer bars than last night", "A backfill was given up")
    done = operator.follow(*headings, "Every vendor fails", "Rate limited")
    assert done & {"nothing_over_48h", "row_count_against_yesterday"} == set()
    assert operator.status() == well
    assert operator.vendor("polygon")["state"] == "half_open", "it is asked with the next question"
    assert operator.vendor("alpha_vantage")["left_today"] == 475
    assert given_up(operator.warehouse, session + timedelta(days=3), (STALE,)) == [], "the next session begins anew"


def the_old_key_is_refused_and_a_day_is_used_up(operator: Operator) -> None:
    settings = operator.own.data_dir / "settings"
    settings.write_text("POLYGON_API_KEY=old\nALPHA_VANTAGE_API_KEY=key\n")
    operator.sql(f"""
        INSERT INTO provider_circuits
            (vendor, capability, state, failures, opened_at, retry_at, times_opened, reason, key_mark, updated_at)
        VALUES ('polygon', 'daily_bars', 'open', 1, now(), now() + interval '1 day', 1, 'AuthFailed',
                '{key_mark(SecretStr("old"))}', now())
    """)
    limits = {"per_second": None, "per_minute": None, "per_day": 25}
    lease = vendor_budgets.lease(operator.warehouse, "alpha_vantage", **limits, least=25, most=25)
    assert lease.granted == 25


def test_what_the_queue_holds_is_fetched_though_its_worker_died(operator: Operator, bars: dict[str, int]) -> None:
    broken(operator, "DELETE FROM price_data_1d WHERE session = '2021-12-21'")
    first = "(SELECT min(instrument_id) FROM price_data_1d WHERE session = '2021-12-15')"
    broken(operator, f"DELETE FROM price_data_1d WHERE session = '2021-12-14' AND instrument_id = {first}")
    with operator.settings():
        long_ago = f"'{clock.now() - timedelta(hours=9)}'"
    broken(operator, f"""
        INSERT INTO backfill_jobs (instrument_id, first_session, last_session, tier, origin, state, worker,
                                   not_before, queued_at, started_at, leased_until)
        VALUES ({first}, '2021-12-14', '2021-12-14', 'T0', 'request', 'running', 'dead',
                {long_ago}, {long_ago}, {long_ago}, {long_ago})
    """)  # fmt: skip
    operator.follow("Gaps stay open", "The backfill stands still")
    assert stored(operator, "2021-12-21", "2021-12-14") == [bars["2021-12-21"], bars["2021-12-14"]]
    assert operator.scalar("SELECT state FROM backfill_jobs WHERE first_session = '2021-12-14'") == "done"


def test_what_is_served_is_computed_again(operator: Operator) -> None:
    wrong = {"snapshot_equals_history", "breadth_adds_up"}
    broken(operator, "UPDATE market_analysis_cache SET rsi = -1 WHERE rsi IS NOT NULL")
    broken(operator, """
        INSERT INTO market_breadth
        SELECT (jsonb_populate_record(b, jsonb_build_object('revision', b.revision + 1, 'stage_1', b.stage_1 + 5))).*
        FROM market_breadth b WHERE session = (SELECT max(session) FROM market_breadth) ORDER BY revision DESC LIMIT 1
    """)  # fmt: skip
    assert wrong <= operator.follow("A check failed", "Vendors contradict each other")
    done = operator.follow("Snapshots differ from the history", "The breadth does not add up")
    assert done & wrong == set()


def test_a_night_that_failed_is_made_up_for(operator: Operator, bars: dict[str, int], well: str) -> None:
    session = str(operator.own.folder.sessions[-1])
    declared = operator.own.folder.path / "source.toml"
    sound = declared.read_text()
    declared.write_text(sound.replace("raw.parquet", "nowhere.parquet"))
    assert "nowhere.parquet" in operator.error_of("backfill_stale_daily")
    declared.write_text(sound)
    operator.environment["QM_LOCK_WAIT_SECONDS"] = "0.1"
    with operator.warehouse.exclusive("bars_1d", 1):
        assert "another run is writing bars_1d" in operator.error_of("backfill_stale_daily")
        (who,) = commands("Another run holds the lock")
        assert "qm_owner" in operator.run(who)
    with operator.settings():
        coverage.beat(operator.warehouse, "backfill_queue", clock.now())
    broken(operator, "UPDATE heartbeats SET beat_at = beat_at - interval '1 hour'")
    broken(operator, f"DELETE FROM price_data_1d WHERE session = '{session}'")
    broken(operator, "UPDATE price_data_1d SET high = low * 0.9 WHERE session = '2022-01-04'")
    assert {"bars_obey_the_rules", "coverage_at_target"} <= operator.failing()
    assert stored(operator, session) == [0]
    assert "daemon" in operator.ills()
    assert '"status":"degraded"' in operator.get("/health")

    done = operator.follow(
        "A run failed", "A run was ended at its timeout", "A setting or a file is wrong",
        "Another run holds the lock", "Bars break a rule", "Coverage is below its target", "An asset is stale",
        "The worker is offline", "Data lags behind",
    )  # fmt: skip
    assert done & {"bars_obey_the_rules", "coverage_at_target"} == set()
    assert stored(operator, session, "2022-01-04") == [bars[session], bars["2022-01-04"]]
    assert operator.status() == well


def test_the_daemons_first_minute_ends_what_says_that_the_worker_is_offline(operator: Operator, tmp_path: Path) -> None:
    with operator.settings():
        coverage.beat(operator.warehouse, WATCH, clock.now() - timedelta(hours=1))
    assert "daemon" in operator.ills()
    (tmp_path / "dagster").mkdir()
    with operator.settings(), DagsterInstance.local_temp(str(tmp_path / "dagster")) as dagster:
        Sensor(WATCH, dagster).tick()
    assert "daemon" not in operator.ills()
    assert '"status":"ok"' in operator.get("/health"), "as the line for another machine's crontab looks for it"


def test_a_redis_that_comes_back_is_told_what_it_missed(operator: Operator, redis_server: RedisServer) -> None:
    operator.environment["QM_REDIS_URL"] = redis_server.url
    redis_server.kill()
    assert "redis" in operator.ills()
    redis_server.start()
    assert redis_server.client.get("coverage:health:last") is None
    operator.follow("Redis is away")
    assert json.loads(redis_server.client.get("coverage:health:last") or "{}")["tracked_count"] == 31
    assert "redis" not in operator.ills()
    del operator.environment["QM_REDIS_URL"]


def test_what_makes_queries_slow_is_seen_and_what_is_old_goes(operator: Operator) -> None:
    broken(operator, """
        INSERT INTO provider_requests (started_at, finished_at, vendor, capability, calls, symbols)
        VALUES ('2011-01-03', '2011-01-03', 'fmp', 'daily_bars', 1, 1)
    """)  # fmt: skip
    with operator.warehouse.begin() as connection:
        connection.exec_driver_sql("SELECT 'left open'")
        (activity, *_) = commands("Queries are slow")
        assert re.search(r"idle in transaction \| SELECT 'left open'", operator.run(activity))
    operator.follow("Queries are slow")
    assert operator.scalar("SELECT count(*) FROM provider_requests WHERE started_at < '2012-01-01'") == 0
    assert (
        operator.scalar("SELECT count(*) FROM pg_stat_user_tables WHERE last_analyze IS NULL AND n_live_tup > 9") == 0
    )


def test_a_taken_port_stands_in_the_log_and_another_one_serves(operator: Operator) -> None:
    log = operator.own.data_dir / "logs" / "api.log"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        api = operator.serve(taken.getsockname()[1], log)
        api.join(60)
        assert api.exitcode not in (0, None)
    assert "address already in use" in operator.qm("logs", "api")
    operator.follow("The API does not start")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    api = operator.serve(port, log)
    try:
        deadline = time.monotonic() + 60
        while "running on" not in log.read_text():
            assert api.is_alive(), log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        assert httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).json()["database"] == "ok"
    finally:
        api.terminate()
        api.join()


def test_the_others_run_as_they_stand(operator: Operator) -> None:
    alike: dict[tuple[str, ...], list[str]] = {}
    for heading in PROCEDURES:
        if heading not in operator.followed:
            alike.setdefault(tuple(jobs(heading)), []).append(heading)
    for headings in alike.values():
        operator.follow(*headings)
    operator.press("send_digest")  # which no procedure presses, and whose page is held to be short as well


@pytest.mark.slow
def test_an_empty_database_is_filled_and_a_stopped_one_starts(operator: Operator, run_folder: Path, well: str) -> None:
    data_dir = run_folder / uuid4().hex[:8]  # which the server's account may enter
    embedded = EmbeddedServer(data_dir / "postgres")
    more = {"QM_DATABASE_URL": "", "QM_HISTORY_SESSIONS": "30"}
    here = replace(operator, own=replace(operator.own, data_dir=data_dir, more=more), environment={}, seen=set())
    try:
        here.qm("db", "upgrade")
        assert "no chain has run yet -> press restore_daily_coverage" in here.own.qm("status").error
        here.follow("No data at all")
        assert here.status() == well
        here.qm("db", "stop")
        assert "database" in here.ills()
        here.follow("The database is away")
        assert here.status() == well
    finally:
        embedded.stop()

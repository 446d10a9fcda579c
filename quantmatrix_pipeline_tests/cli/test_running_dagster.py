"""A running Dagster, and what is asked of it from outside over its GraphQL; one `qm up` for all of the tests here."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from quantmatrix_pipeline.dagster_client import (
    ENDED,
    Dagster,
    Run,
    launch,
    run,
    runs,
    schedules,
    sensors,
    start_schedule,
    start_sensor,
    stop_schedule,
    stop_sensor,
)
from quantmatrix_pipeline.errors import DagsterRefused, NoSuchRun
from quantmatrix_pipeline.warehouse import instruments, universe
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.cli.conftest import Installation
from quantmatrix_pipeline_tests.cli.test_up import Up, start
from quantmatrix_pipeline_tests.conftest import TEMPLATE, _database
from quantmatrix_pipeline_tests.faults.folders import Folder

PATIENCE = 90.0
TAGS = {"qm/slow_after_s": "60", "qm/channels": "slack,https://discord.com/api/webhooks/1/token"}
KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def installation(
    server: EmbeddedServer, small_folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """An installation whose settings are in a file."""
    folder = tmp_path_factory.mktemp("running")
    file = folder / "ours.env"
    file.write_text("QM_NIGHTLY_CRON=30 17 * * 1-5\n")
    with contextmanager(_database)(server, TEMPLATE) as url:
        yield Installation(
            small_folder, url, folder / "qm", {"QM_ENV_FILE": str(file), "QM_ADMIN_API_KEYS": f"ada:{KEY}"}
        )


@pytest.fixture(scope="module")
def up(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    output = tmp_path_factory.mktemp("up") / "up.txt"
    with start(installation.environment, installation.data_dir, output) as running:
        running.wait_for(f"{running.ui}/server_info")
        yield running


@pytest.fixture(scope="module")
def dagster(up: Up) -> Dagster:
    return Dagster(up.ui)


def ended(dagster: Dagster, run_id: str) -> Run:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = run(dagster, run_id)
        if found.status in ENDED:
            return found
        time.sleep(0.5)
    raise AssertionError(f"{run_id} has not ended")


def test_a_run_is_launched_with_tags_for_a_range_and_can_be_followed(dagster: Dagster, small_folder: Folder) -> None:
    first, last = str(small_folder.sessions[-2]), str(small_folder.sessions[-1])
    run_id = launch(dagster, "refresh_coverage", partitions=(first, last), tags=TAGS)
    found = ended(dagster, run_id)
    assert (found.status, found.job, found.sessions) == ("SUCCESS", "refresh_coverage", f"{first}..{last}")
    assert (found.tags["qm/slow_after_s"], found.tags["qm/channels"]) == ("60", "slack,***")
    assert ((found.steps_succeeded or 0) >= 1, found.steps_failed) == (True, 0)
    assert (found.materializations or 0) >= 1
    assert (found.seconds or 0) > 0
    assert [each.run_id for each in runs(dagster, job="refresh_coverage", statuses=ENDED)] == [run_id]
    assert [each.run_id for each in runs(dagster, tags={"qm/slow_after_s": "60"})] == [run_id]
    assert runs(dagster, job="refresh_coverage", before=run_id) == []


def test_the_daemon_watches_runs_tries_crashed_ones_again_and_notices_what_grows_stale(dagster: Dagster) -> None:
    question = "query { instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
    wanted = {"SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR", "MONITORING", "EVENT_LOG_CONSUMER", "FRESHNESS_DAEMON"}
    deadline = time.monotonic() + PATIENCE
    healthy: set[str] = set()
    while not wanted <= healthy:
        assert time.monotonic() < deadline, wanted - healthy
        answer = httpx.post(f"{dagster.address}/graphql", json={"query": question}, timeout=30, trust_env=False).json()
        statuses = answer["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
        healthy = {each["daemonType"] for each in statuses if each["required"] and each["healthy"]}
        time.sleep(0.5)


@pytest.fixture
def two_symbols(installation: Installation) -> Iterator[tuple[str, str]]:
    """Two symbols that are tracked and have no bar yet; in the folder their last five bars are sound."""
    bars, newest = installation.folder.frame, installation.folder.sessions[-5:]
    sound = bars[bars.date.isin(newest) & (bars.low > 0) & (bars.high >= bars.low) & bars.close.notna()]
    one, other = sound.symbol.value_counts().eq(len(newest)).loc[lambda whole: whole].index.sort_values()[:2]
    warehouse = Warehouse(installation.url)
    ids = instruments.ensure(warehouse, [one, other])
    universe.track(warehouse, newest[-1], {i: ["watch_list"] for i in ids.values()})
    yield one, other
    warehouse.close()


def test_runs_are_launched_and_followed_over_http_until_they_have_ended(
    dagster: Dagster, up: Up, installation: Installation, two_symbols: tuple[str, str]
) -> None:
    """Of checks, of a symbol, of the queue, all under way at once; of a session by its schedule, below."""
    one, other = two_symbols
    first, newest = str(installation.folder.sessions[-5]), str(installation.folder.sessions[-1])
    wanted = {"symbol": other, "interval": "1d", "start": f"{first}T14:00:00Z", "end": newest, "priority": "T0"}
    with httpx.Client(base_url=up.api, headers={"X-API-Key": KEY}, timeout=PATIENCE, trust_env=False) as client:
        started = [
            client.post("/ops/validate"),
            client.post(f"/api/v1/market-data/symbol/{one}/refresh"),
            client.post("/ops/backfill", json=wanted),
        ]
        assert [response.status_code for response in started] == [202] * 3, [response.text for response in started]
        bodies = {body["task"]: body for body in (response.json() for response in started)}
        for task, body in bodies.items():
            assert ended(dagster, body["run_id"]).tags["qm/actor"] == "ada"
            found = client.get(body["follow"]).json()
            assert (found["job"], found["status"], found["ended"], found["actor"]) == (task, "SUCCESS", True, "ada")
            assert found["session"] is body["session"] is None
        assert bodies["validate"]["findings"]["settings"]["state"] == "ok"
        cursor = client.get(f"/ops/cursor/{other}/1d/files").json()
        assert (cursor["first_bar"], cursor["contiguous_to"]) == (first, newest)
        tasks = {task["task"]: task for task in client.get("/api/v1/market-data/admin/tasks").json()}
        assert {task: tasks[task]["last"]["run_id"] for task in bodies} == {
            task: body["run_id"] for task, body in bodies.items()
        }
        wrong = {"task": "restate", "config": {"record_what_is_due": {"sinse": "2021-01-04"}}}
        refused = client.post("/api/v1/market-data/admin/tasks/run", json=wrong)
        assert refused.status_code == 409
        assert "sinse" in refused.json()["detail"]


def test_what_dagster_refuses_is_told_with_its_reason(dagster: Dagster) -> None:
    with pytest.raises(NoSuchRun, match="keeps no run"):
        run(dagster, "00000000-0000-0000-0000-000000000000")
    with pytest.raises(DagsterRefused, match="no_such_job") as refused:
        launch(dagster, "no_such_job")
    assert refused.value.kind == "PipelineNotFoundError"
    with pytest.raises(DagsterRefused, match="nonsense"):
        launch(dagster, "restate", config={"nonsense": 1})
    with pytest.raises(DagsterRefused, match=r"no schedule 'nightly'; it has .*nightly_chain"):
        stop_schedule(dagster, "nightly")


def test_schedules_and_sensors_are_switched_off_and_on_again(dagster: Dagster) -> None:
    nightly = schedules(dagster)["nightly_chain"]
    assert nightly.running
    assert (nightly.jobs, nightly.cron) == (("restore_daily_coverage",), "30 17 * * 1-5")
    assert nightly.next_tick is not None
    stop_schedule(dagster, "nightly_chain")
    stop_sensor(dagster, "backfill_queue")
    assert not schedules(dagster)["nightly_chain"].running
    assert not sensors(dagster)["backfill_queue"].running
    start_schedule(dagster, "nightly_chain")
    start_sensor(dagster, "backfill_queue")
    assert schedules(dagster)["nightly_chain"].running
    queue = sensors(dagster)["backfill_queue"]
    assert (queue.running, queue.jobs, queue.every_seconds) == (True, ("work_backfill_queue",), 60)


def admin(up: Up) -> httpx.Client:
    return httpx.Client(
        base_url=f"{up.api}/api/v1/admin/schedules", headers={"X-API-Key": KEY}, timeout=PATIENCE, trust_env=False
    )


def test_a_schedule_is_paused_and_run_now_by_the_command_line_and_resumed_over_http(
    dagster: Dagster, installation: Installation, up: Up
) -> None:
    port = up.ui.rpartition(":")[2]
    assert installation.qm("schedules", "pause", "hourly_coverage", QM_UI_PORT=port).code == 0
    assert not schedules(dagster)["hourly_coverage"].running
    shown = installation.qm("schedules", "list", "--json", QM_UI_PORT=port)
    states = {s["name"]: s["state"] for s in json.loads(shown.stdout)["schedules"]}
    assert (states["hourly_coverage"], states["nightly_chain"], states["history_record"]) == ("paused", "on", "off")
    with admin(up) as client:
        assert client.post("/hourly_coverage/resume").json() == {"name": "hourly_coverage", "running": True}
        assert client.get("/hourly_coverage").json()["running"]
        launched = client.post("/hourly_coverage/run-now").json()
        found = ended(dagster, launched["run_id"])
        assert (found.status, found.job) == ("SUCCESS", "refresh_coverage")
        assert found.sessions == str(installation.folder.sessions[-1])
        assert found.tags["qm/schedule"] == "hourly_coverage"
        assert found.tags["qm/actor"] == "ada"
        assert launched["url"] == dagster.page(found.run_id)
        assert (launched["task"], launched["session"]) == ("refresh_coverage", found.sessions)
        followed = client.get(f"{up.api}{launched['follow']}").json()
        assert (followed["status"], followed["session"], followed["actor"]) == ("SUCCESS", found.sessions, "ada")
        done = [(c["actor"].partition(":")[0], c["action"]) for c in client.get("/audit").json()]
    assert done == [("ada", "run_now"), ("ada", "resume"), ("qm", "pause")]


def test_a_change_over_http_is_live_at_once_and_one_by_hand_within_a_minute_and_a_pause_survives_both(
    dagster: Dagster, installation: Installation, up: Up
) -> None:
    stop_schedule(dagster, "weekly_profiles")
    with admin(up) as client:
        entry = client.get("/weekly_profiles").json()["entry"]
        taken = {"execution": {"config": {"retries": {"disabled": {}}}}}
        changed = client.put("/weekly_profiles", json={**entry, "cron": "0 8 * * 6", "config": taken}).json()
        assert (changed["live"], changed["note"]) == (True, None)
        assert schedules(dagster)["weekly_profiles"].cron == "0 8 * * 6"
        unknown = client.post(
            f"{up.api}/api/v1/admin/schedules", json={"name": "other", "job": "no_such_job", "cron": "0 0 * * *"}
        )
        assert unknown.status_code == 422
        assert "there is no job 'no_such_job'" in unknown.json()["detail"]
        misfit = {"job": "restate", "cron": "0 0 * * *", "partition": "missed", "config": {"ops": {"nonsense": {}}}}
        faults = client.put("/weekly_profiles", json=misfit).json()["errors"]
        assert [fault["field"] for fault in faults] == ["weekly_profiles.partition", "weekly_profiles.config"]
        assert "nonsense" in faults[1]["message"]
    file = Path(changed["file"])
    text = file.read_text()
    file.write_text("schedules: [")
    done = installation.qm("schedules", "list", QM_UI_PORT=up.ui.rpartition(":")[2])
    assert "line 1" in done.stdout
    # Whatever has the definitions loaded anew, the file does not count while it is broken.
    forced = installation.qm("reload", QM_UI_PORT=up.ui.rpartition(":")[2])
    assert "schedules: the last good schedules stay in force" in forced.stdout
    assert "has reloaded" in forced.stdout
    assert schedules(dagster)["weekly_profiles"].cron == "0 8 * * 6"
    assert len(schedules(dagster)) > 1
    file.write_text(text.replace("0 8 * * 6", "0 9 * * 6"))
    deadline = time.monotonic() + 60
    while (found := schedules(dagster)["weekly_profiles"]).cron != "0 9 * * 6":
        assert time.monotonic() < deadline, "the change is not live"
        time.sleep(1)
    assert not found.running
    start_schedule(dagster, "weekly_profiles")


def test_a_running_dagster_loads_what_the_file_says_now_and_says_so_when_it_can_not(
    dagster: Dagster, installation: Installation, up: Up
) -> None:
    file = Path(installation.more["QM_ENV_FILE"])
    port = up.ui.rpartition(":")[2]
    (installation.data_dir / "schedules.yaml").unlink(missing_ok=True)  # a changed copy would have the last word
    file.write_text("QM_NIGHTLY_CRON=45 18 * * 1-5\n")
    done = installation.qm("reload", QM_UI_PORT=port)
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("has reloaded quantmatrix_pipeline")
    assert schedules(dagster)["nightly_chain"].cron == "45 18 * * 1-5"
    # Each value by itself is right, but there is no such exchange.
    file.write_text("QM_CALENDAR=XXXX\n")
    done = installation.qm("reload", QM_UI_PORT=port)
    assert done.code == 1
    assert "quantmatrix_pipeline could not be reloaded" in done.error
    assert "QM_CALENDAR" in done.error

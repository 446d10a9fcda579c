"""The graph as it is written: it loads anywhere, does nothing at import, and a change of it shows in review."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetsDefinition, DailyPartitionsDefinition, Definitions

from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline_tests.pipeline.running import CALENDAR

CHECKOUT = Path(__file__).resolve().parents[2]
ANSWER = CHECKOUT / "quantmatrix_pipeline_tests" / "answers" / "definitions.json"
PROGRAMS = Path(sys.executable).parent

# Sockets, the file system's writers and processes raise: whatever loading touches of them fails the program.
LOAD_AND_TOUCH_NOTHING = """
import sys

FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.mkdir", "os.remove", "sqlite3.")

def watch(event, arguments):
    if event.startswith(FORBIDDEN) and event not in ("socket.__new__", "socket.gethostname"):
        raise RuntimeError(f"loading the definitions did {event} {arguments!r}")
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        raise RuntimeError(f"loading the definitions wrote {arguments[0]!r}")

import dagster, pandas, exchange_calendars, yfinance  # libraries may look around when they are first imported
sys.dont_write_bytecode = True
sys.addaudithook(watch)
from quantmatrix_pipeline.definitions import build_defs, defs
definitions = build_defs()
print(len(list(definitions.resolve_all_asset_specs())), defs is not None)
"""


def bare_environment(tmp_path: Path) -> dict[str, str]:
    """An environment without one setting of ours, in a folder where nothing lies."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}


def test_the_definitions_load_in_a_fresh_interpreter_without_database_secret_or_any_io(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD_AND_TOUCH_NOTHING],
        cwd=tmp_path,
        env=bare_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["11", "True"]
    assert list(tmp_path.iterdir()) == []


def test_the_layers_hold() -> None:
    done = subprocess.run(
        [str(PROGRAMS / "lint-imports"), "--no-cache"], cwd=CHECKOUT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_dagsters_own_tool_accepts_the_definitions(tmp_path: Path, database_url: str) -> None:
    # The checkout's dagster.yaml keeps Dagster's own tables in the settings' database, so the tool needs one.
    environment = bare_environment(tmp_path) | {"QM_DATABASE_URL": database_url}
    environment["PATH"] = f"{PROGRAMS}:{environment['PATH']}"
    done = subprocess.run(
        [str(PROGRAMS / "dg"), "check", "defs"],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "loaded successfully" in done.stdout + done.stderr


def described(definitions: Definitions) -> dict[str, Any]:
    """Everything about the graph that a reviewer should see change."""
    repository = definitions.get_repository_def()
    assets = {}
    for spec in definitions.resolve_all_asset_specs():
        days = spec.partitions_def
        assert days is None or isinstance(days, DailyPartitionsDefinition)
        schema = spec.metadata.get("dagster/column_schema")
        assets[spec.key.to_user_string()] = {
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "group": spec.group_name,
            "owners": list(spec.owners),
            "kinds": sorted(spec.kinds),
            "code_version": spec.code_version,
            "partitions": [f"{days.start:%Y-%m-%d}", days.timezone, days.end_offset] if days else None,
            "freshness": str(spec.freshness_policy is not None),
            "table": spec.metadata.get("dagster/table_name"),
            "description": (spec.description or "").splitlines()[0],
            "columns": [column.name for column in schema.columns] if schema else None,
        }
    checks = {
        f"{spec.asset_key.to_user_string()}.{spec.name}": {
            "blocking": spec.blocking,
            "description": (spec.description or "").splitlines()[0],
        }
        for check in definitions.asset_checks or ()
        for spec in check.check_specs
    }
    jobs = {
        job.name: {
            "assets": sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys),
            "tags": dict(job.tags),
            "description": job.description,
        }
        for job in repository.get_all_jobs()
        if not job.name.startswith("__")
    }
    schedules = {
        s.name: {
            "cron": s.cron_schedule,
            "timezone": s.execution_timezone,
            "job": s.job_name,
            "status": str(s.default_status),
        }
        for s in repository.schedule_defs
    }
    sensors = {
        s.name: {
            "interval": s.minimum_interval_seconds,
            "jobs": [target.job_name for target in s.targets],
            "status": str(s.default_status),
        }
        for s in repository.sensor_defs
    }
    return {"assets": assets, "checks": checks, "jobs": jobs, "schedules": schedules, "sensors": sensors}


def test_the_graph_is_the_one_that_was_reviewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """To accept a change on purpose: QM_WRITE_ANSWERS=1 writes the answer anew; the diff is what is reviewed."""
    for name in [name for name in os.environ if name.startswith("QM_") and name != "QM_WRITE_ANSWERS"]:
        monkeypatch.delenv(name)
    found = json.dumps(described(build_defs()), indent=1, sort_keys=True) + "\n"
    if os.environ.get("QM_WRITE_ANSWERS"):
        ANSWER.parent.mkdir(exist_ok=True)
        ANSWER.write_text(found)
    assert json.loads(found) == json.loads(ANSWER.read_text())


def test_every_asset_says_what_it_is_whose_it_is_and_what_its_table_holds() -> None:
    checks = [spec for check in build_defs().asset_checks or () for spec in check.check_specs]
    assert [spec.name for spec in checks if not spec.description] == []
    for spec in build_defs().resolve_all_asset_specs():
        said = (spec.description, spec.owners, spec.kinds, spec.code_version)
        assert all(said), (spec.key, said)
        assert spec.group_name not in (None, "default"), spec.key
        columns = spec.metadata["dagster/column_schema"].columns
        assert columns, spec.key
        assert all(column.type and column.description for column in columns), spec.key


def test_every_job_schedule_and_sensor_says_what_it_does() -> None:
    repository = build_defs().get_repository_def()
    everything = [*repository.get_all_jobs(), *repository.schedule_defs, *repository.sensor_defs]
    named = [each for each in everything if not each.name.startswith("__")]
    assert [each.name for each in named if not each.description] == []
    assert len(named) > 30


def test_validate_runs_every_check_but_the_restore_of_a_backup() -> None:
    definitions = build_defs()
    every = {
        f"{spec.asset_key.to_python_identifier()}_{spec.name}"
        for check in definitions.asset_checks or ()
        for spec in check.check_specs
    }
    run = {node.name for node in definitions.resolve_job_def("validate").nodes}
    assert every - run == {"backup_restores_whole"}
    assert run < every


def test_the_partitions_are_the_sessions_of_the_calendar() -> None:
    (universe, *_) = [a for a in build_defs().assets or () if isinstance(a, AssetsDefinition)]
    partitions = universe.partitions_def
    assert isinstance(partitions, DailyPartitionsDefinition)
    keys = [key for key in partitions.get_partition_keys() if key < "2026-01-01"]
    ours = [str(day) for day in CALENDAR.sessions if "2000-01-03" <= str(day) < "2026-01-01"]
    assert keys == ours
    assert {"2001-09-10", "2001-09-17", "2012-10-31"} <= set(keys)
    assert not {"2001-09-11", "2012-10-29", "2021-11-25", "2021-12-24"} & set(keys), (
        "unplanned closures are no sessions"
    )


def test_each_build_is_fresh_and_overrides_take_the_place_of_resources() -> None:
    marker = object()
    assert build_defs() is not build_defs()
    assert (build_defs({"extra": marker}).resources or {})["extra"] is marker

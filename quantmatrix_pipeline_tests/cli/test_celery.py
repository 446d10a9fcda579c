"""Runs on Celery workers (deploy/celery): the instance is the checkout's but for its launcher, and a burst of small
runs on two workers takes at most half of what the default launcher takes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from quantmatrix_pipeline.dagster_client.connection import Dagster
from quantmatrix_pipeline.dagster_client.runs import ENDED, launch, run
from quantmatrix_pipeline.errors import ConfigurationError, DagsterRefused, DagsterUnreachable
from quantmatrix_pipeline.job_names import WORK_QUEUE
from quantmatrix_pipeline.resources.celery_launcher import broker
from quantmatrix_pipeline_tests.cli.conftest import Installation
from quantmatrix_pipeline_tests.cli.test_up import Up, start
from quantmatrix_pipeline_tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server"]

ROOT = Path(__file__).resolve().parents[2]
VARIANT = ROOT / "deploy" / "celery" / "dagster.yaml"
BURST, WORKERS = 12, 2
START_SECONDS = 400.0


def test_the_instance_of_celery_is_the_checkouts_but_for_its_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = yaml.safe_load(VARIANT.read_text())
    launcher = ours.pop("run_launcher")
    plain = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    # A run waits for a free worker before it starts: until then nothing is wrong with it.
    waits = ours["run_monitoring"].pop("start_timeout_seconds")
    assert waits > plain["run_monitoring"].pop("start_timeout_seconds")
    assert ours == plain
    assert (launcher["module"], launcher["class"]) == (broker.__module__, "RedisCeleryRunLauncher")
    for name in ("QM_REDIS_URL", "RLC_REDIS_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="set QM_REDIS_URL"):
        broker()


@contextmanager
def workers(environment: Mapping[str, str], data_dir: Path, output: Path) -> Iterator[None]:
    """Celery workers, each with one process for runs, as deploy/README.md says to start them."""
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("QM_", "DAGSTER_"))}
    command = [sys.executable, "-m", "celery", "-A", "quantmatrix_pipeline.resources.celery_worker", "worker"]
    running = []
    try:
        for number in range(WORKERS):
            with output.with_suffix(f".{number}").open("wb") as file:
                running.append(
                    subprocess.Popen(
                        [*command, "-Q", "dagster", "-c", "1", "-n", f"worker{number}@%h", "-l", "INFO"],
                        env={**clean, **environment, "QM_DATA_DIR": str(data_dir)},
                        stdout=file,
                        stderr=subprocess.STDOUT,
                    )
                )
        deadline = time.monotonic() + START_SECONDS
        for number, worker in enumerate(running):
            while "ready." not in (said := output.with_suffix(f".{number}").read_text()):
                assert worker.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.2)
        yield
    finally:
        for worker in running:
            worker.terminate()
        for worker in running:
            worker.wait(60)


def launched(up: Up, count: int) -> float:
    """Launch so many runs at once; return the seconds until the last has ended, and hold each to success."""
    dagster = Dagster(up.ui)
    started = time.monotonic()
    waiting = {launch(dagster, WORK_QUEUE) for _ in range(count)}
    while waiting:
        assert time.monotonic() - started < 900
        time.sleep(0.5)
        for run_id in sorted(waiting):
            found = run(dagster, run_id)
            if found.status in ENDED:
                assert found.status == "SUCCESS", found
                waiting.discard(run_id)
    return time.monotonic() - started


def burst(installation: Installation, output: Path) -> float:
    """Return how long a burst takes when everything is up and two runs have gone before it."""
    with start(installation.environment, installation.data_dir, output) as up:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                launched(up, 2)
                break
            except (DagsterUnreachable, DagsterRefused):
                assert up.process.poll() is None, output.read_text()
                assert time.monotonic() < deadline, output.read_text()
                time.sleep(1)
        return launched(up, BURST)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_burst_on_two_workers_takes_at_most_half_the_defaults_time(
    migrated: Installation,
    redis_server: RedisServer,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    celery = replace(
        migrated,
        data_dir=tmp_path / "celery",
        more={"QM_DAGSTER_FILE": str(VARIANT), "QM_REDIS_URL": redis_server.url},
    )
    celery.data_dir.mkdir()
    plain = burst(migrated, tmp_path / "plain.txt")
    with workers(celery.environment, celery.data_dir, tmp_path / "worker"):
        with_workers = burst(celery, tmp_path / "celery.txt")
    said = f"{BURST} runs: {plain:.1f} s by the default launcher, {with_workers:.1f} s on {WORKERS} workers"
    record_property("seconds", said)
    assert with_workers <= plain / 2, said

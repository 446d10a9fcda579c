"""`/metrics` after a chain that ran in another process tells what SQL tells."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from quantmatrix_pipeline.api.app import create_app
from quantmatrix_pipeline.api.tasks import TASKS
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import backfill, instruments, runs, universe
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.cli.conftest import Installation
from quantmatrix_pipeline_tests.market_nights import CALENDAR, DAYS, Market

Samples = Mapping[str, Mapping[tuple[str, ...], float]]


def families_of(server: EmbeddedServer, url: str) -> list[Metric]:
    """Scrape the API over a database, with a reader's rights, and read the answer as Prometheus' own parser does."""
    reader = server.url(url.rsplit("/", 1)[1], "qm_reader")
    with TestClient(create_app(Settings(database_url=SecretStr(reader)))) as client:
        response = client.get("/metrics")
    assert response.status_code == 200, response.text
    return list(text_string_to_metric_families(response.text))


def scraped(server: EmbeddedServer, url: str, now: datetime, monkeypatch: pytest.MonkeyPatch) -> Samples:
    """Return name -> label values, in the order of the labels' names -> value."""
    monkeypatch.setenv("QM_NOW", now.isoformat())
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in families_of(server, url):
        for sample in family.samples:
            labels = tuple(sample.labels[name] for name in sorted(sample.labels))
            assert labels not in found.setdefault(sample.name, {}), (sample.name, labels)
            found[sample.name][labels] = sample.value
    return found


@pytest.fixture
def sql(filled: Installation) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(filled.url) as connection:
        yield connection


def test_after_a_chain_in_another_process_the_metrics_are_what_sql_tells(
    filled: Installation, server: EmbeddedServer, sql: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    last = filled.folder.sessions[-1]
    found = scraped(server, filled.url, datetime(last.year, last.month, last.day, 23, 30, tzinfo=UTC), monkeypatch)

    def told(query: str) -> dict[tuple[str, ...], float]:
        rows = sql.execute(query).fetchall()  # type: ignore[arg-type]
        return {tuple(row[:-1]): float(row[-1]) for row in rows}

    # Labels are in the order of their names: status, task.
    ended = told("SELECT status, job, count(*) FROM runs WHERE ended_at IS NOT NULL GROUP BY 1, 2")
    assert ended[("success", "restore_daily_coverage")] >= 1
    counted = found["quantmatrix_runs_total"]
    assert found["quantmatrix_run_duration_seconds_count"] == counted
    none = dict.fromkeys(itertools.product(("success", "failure", "canceled"), TASKS), 0.0)
    assert counted == none | ended
    seconds = told("SELECT status, job, extract(epoch FROM sum(ended_at - started_at)) FROM runs GROUP BY 1, 2")
    assert found["quantmatrix_run_duration_seconds_sum"] == pytest.approx(none | seconds)
    at = told("SELECT status, job, extract(epoch FROM max(ended_at)) FROM runs GROUP BY 1, 2")
    assert found["quantmatrix_run_last_end_timestamp_seconds"] == pytest.approx(at)
    assert found["quantmatrix_runs_running"] == dict.fromkeys([(task,) for task in TASKS], 0.0)

    parts = told("SELECT provider, type, batches FROM write_batches")
    assert found["jobs_processed_total"] == parts
    assert parts[("files", "bars_1d")] >= 2, "a file is a part"
    written = found["quantmatrix_bars_written_total"]
    assert sum(written.values()) == sum(told("SELECT count(*) FROM price_data").values())
    assert found["write_batch_ms_count"] == {("bars_1d",): parts[("files", "bars_1d")]}
    assert found["write_batch_ms_sum"] == pytest.approx(told("SELECT type, sum(sum_ms) FROM write_batches GROUP BY 1"))
    rows = found["quantmatrix_table_rows"]
    for table in ("price_data", "market_analysis_history", "validation_log"):
        assert {(): rows[(table,)]} == told(f"SELECT count(*) FROM {table}")

    # The first scan found all there are: every stretch that should have bars.
    should = "NOT accepted AND reason IN ('rejected', 'vendor_hole', 'not_fetched')"
    assert found["gaps_found_total"] == told(f"SELECT interval, count(*) FROM bar_gaps WHERE {should} GROUP BY 1")
    assert found["quantmatrix_gap_sessions"] == told("SELECT reason, sum(sessions) FROM bar_gaps GROUP BY 1")

    report = sql.execute("SELECT report FROM coverage_snapshots ORDER BY session DESC LIMIT 1").fetchone()
    assert report is not None
    body = report[0]
    assert found["quantmatrix_coverage_instruments"] == {(age,): n for age, n in body["buckets"].items()}
    assert found["quantmatrix_coverage_group_instruments"] == {
        (age, group): n
        for kind in ("by_index", "by_tier")
        for group, counts in body[kind].items()
        for age, n in counts.items()
    }
    assert found["quantmatrix_coverage_fresh_ratio"] == {(): body["share"]}
    assert found["quantmatrix_coverage_ok"] == {(): 0.0}, "GHOST has no bar"
    assert found["ingestion_lag_seconds"] == {("1d",): 0.0}

    # Years later nothing is late: files may hold no later session, of which the first line of `qm status` knows too.
    later = scraped(server, filled.url, datetime(last.year + 5, 1, 1, tzinfo=UTC), monkeypatch)
    assert later["ingestion_lag_seconds"] == {("1d",): 0.0}
    assert later["quantmatrix_source_ends"] == {(): 1.0}


def test_bars_of_a_vendor_are_late_from_the_next_close_and_its_grace_on(
    database_url: str, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = DAYS[-1].item()
    warehouse = Warehouse(database_url)
    Market(warehouse).store(CALENDAR.close(last), {(0, len(DAYS) - 1): 1.0}, vendor="polygon")
    warehouse.close()
    due = CALENDAR.close(CALENDAR.next(last)) + timedelta(minutes=30)
    for now, late in ((due - timedelta(minutes=1), 0.0), (due + timedelta(hours=1), 3600.0)):
        found = scraped(server, database_url, now, monkeypatch)
        assert found["ingestion_lag_seconds"] == {("1d",): late}
        assert found["quantmatrix_source_ends"] == {(): 0.0}


def test_the_backfill_queue_and_runs_that_fail_show_in_the_metrics(
    database_url: str, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2021, 12, 31, 22, tzinfo=UTC)
    warehouse = Warehouse(database_url)
    empty = scraped(server, database_url, now, monkeypatch)
    assert empty["backfill_queue_depth"] == empty["backfill_oldest_age_seconds"] == {(): 0.0}
    assert empty["backfill_jobs_enqueued_total"] == {(tier,): 0.0 for tier in backfill.TIERS}
    assert empty["gaps_found_total"] == {("1d",): 0.0}
    assert empty["quantmatrix_coverage_ok"] == {(): 0.0}, "nothing was worked out yet"
    assert "ingestion_lag_seconds" not in empty
    assert empty["quantmatrix_source_ends"] == {(): 0.0}
    assert empty["quantmatrix_runs_total"][("failure", "restore_daily_coverage")] == 0, "the first failure is a step up"

    ids = sorted(instruments.ensure(warehouse, ["AAA", "BBB", "CCC"]).values())
    universe.track(warehouse, now.date(), {i: ["watch_list"] for i in ids})
    warehouse.execute("UPDATE symbol_universe SET tier = 'T0' WHERE instrument_id = :id", {"id": ids[0]})
    wanted = [(i, now.date(), now.date()) for i in ids]
    backfill.enqueue(warehouse, wanted, origin="gaps", priority=0, now=now)
    (job,) = backfill.claim(warehouse, "w", "T0", 9, 9, now, timedelta(minutes=5))
    backfill.finish(warehouse, "w", job, now)
    (job, _) = backfill.claim(warehouse, "w", "T1", 9, 9, now, timedelta(minutes=5))
    backfill.fail(warehouse, "w", job, "no", now, for_good=True)
    for name, status in (("a", "failure"), ("b", "canceled"), ("c", None)):
        runs.begin(warehouse, runs.Run(name, "restate", None, None, {}, "running", now))
        if status:
            later = now + timedelta(seconds=90)
            error = "broken" if status == "failure" else None
            runs.end(warehouse, name, status=status, ended_at=later, step_seconds={}, counters={}, error=error)
    warehouse.execute("DELETE FROM runs WHERE run_id = 'a'")  # what is no longer kept stays counted
    warehouse.close()

    found = scraped(server, database_url, now + timedelta(hours=2), monkeypatch)
    assert found["backfill_jobs_enqueued_total"] == {("T0",): 1, ("T1",): 2, ("T2",): 0}
    ended = found["backfill_jobs_completed_total"]
    assert {key: n for key, n in ended.items() if n} == {("done", "T0"): 1, ("failed", "T1"): 1}
    assert found["backfill_queue_depth"] == {(): 1.0}
    assert found["backfill_oldest_age_seconds"] == {(): 7200.0}
    ways = {("failure", "restate"): 1, ("canceled", "restate"): 1}
    assert {key: n for key, n in found["quantmatrix_runs_total"].items() if n} == ways
    seconds = {key: n for key, n in found["quantmatrix_run_duration_seconds_sum"].items() if n}
    assert seconds == dict.fromkeys(ways, 90)
    assert {key: n for key, n in found["quantmatrix_runs_running"].items() if n} == {("restate",): 1}

"""What is deployed beside the platform asks Prometheus for nothing but what it stores of us: rules, their test, the
dashboard; and Prometheus' own tool, where it is installed, agrees.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import promql_parser
import pytest
import yaml
from prometheus_client import Metric

from quantmatrix_pipeline.warehouse import coverage, runs, vendor_requests
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.vendor_requests import LATENCY_BOUNDS_MS
from quantmatrix_pipeline_tests.cli.conftest import Installation
from quantmatrix_pipeline_tests.cli.test_scraping import families_of
from quantmatrix_pipeline_tests.conftest import _database
from quantmatrix_pipeline_tests.stored_metrics import Stored, labels_of, stored

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
CASES = yaml.safe_load((DEPLOY / "prometheus" / "alerts.test.yml").read_text())["tests"]
(SCRAPED,) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
TARGET = {"job": SCRAPED["job_name"], "instance": SCRAPED["static_configs"][0]["targets"][0]}
(DASHBOARD,) = [json.loads(file.read_text()) for file in (DEPLOY / "grafana" / "dashboards").glob("*.json")]
PANELS = DASHBOARD["panels"]
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}


@pytest.fixture(scope="module")
def families(filled: Installation, server: EmbeddedServer) -> Iterator[list[Metric]]:
    """A scrape in which each metric has a series: a chain has run, a run has failed, vendors were asked."""
    now = datetime(2021, 12, 31, 22, tzinfo=UTC)
    with contextmanager(_database)(server, filled.url.rsplit("/", 1)[1]) as url:
        warehouse = Warehouse(url)
        runs.begin(warehouse, runs.Run("a", "restate", None, None, {}, "running", now))
        runs.end(warehouse, "a", status="failure", ended_at=now, step_seconds={}, counters={}, error="broken")
        coverage.beat(warehouse, "stale", now)
        buckets = [1] * (len(LATENCY_BOUNDS_MS) + 1)
        counted = vendor_requests.Counters(
            {("quotes", "fmp"): 1}, {("fmp", "quote", "RateLimited"): 1}, {("fmp", "quote"): (buckets, 99.0)}
        )
        vendor_requests.write(warehouse, None, now, now, [], counted)
        warehouse.close()
        yield families_of(server, url)


@pytest.fixture(scope="module")
def series(families: list[Metric]) -> Stored:
    return stored(families, TARGET)


def queries() -> Iterator[tuple[str, str, set[str]]]:
    """Every query that is deployed: where it stands, what it asks, which labels are read from its answer."""
    for rule in RULES:
        said = " ".join(rule["annotations"].values())
        yield f"alert {rule['alert']}", rule["expr"], set(re.findall(r"\$labels\.(\w+)", said))
    for panel in PANELS:
        for target in panel["targets"]:
            read = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            yield f"panel {panel['title']}", target["expr"], read


@pytest.mark.parametrize(("query", "read"), [pytest.param(*rest, id=place) for place, *rest in queries()])
def test_a_deployed_query_asks_for_what_is_stored_and_its_sides_meet(
    series: Stored, query: str, read: set[str]
) -> None:
    answer = labels_of(promql_parser.parse(query), series)
    assert answer is not None
    assert read <= answer


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("sum by (job_name) (quantmatrix_runs_total)", "no label job_name"),
        ('quantmatrix_runs_total{status="failed"}', "no series with status 'failed'"),
        ('quantmatrix_runs_total{provider="fmp"}', "no label provider"),
        ("quantmatrix_run_total", "no such metric"),
        ("backfill_oldest_age_seconds > 1 and sum(rate(backfill_jobs_completed_total[1h])) == 0", "never meet"),
        ("circuit_state / provider_calls_left_today == on (tier) backfill_queue_depth", "has no label tier"),
        ("quantmatrix_runs_total / quantmatrix_runs_running", "never meet"),
        ("circuit_state or quantmatrix_coverage_ok", "never meet"),
        ("histogram_quantile(0.5, sum by (type) (rate(write_batch_ms_bucket[5m])))", "le is gone"),
    ],
)
def test_a_query_that_would_never_answer_is_told_from_one_that_does(series: Stored, query: str, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        labels_of(promql_parser.parse(query), series)


def test_a_label_that_prometheus_gives_itself_is_refused() -> None:
    metric = Metric("runs", "", "gauge")
    metric.add_sample("runs", {"job": "restate"}, 1.0)
    with pytest.raises(AssertionError, match="runs: Prometheus gives the label job itself"):
        stored([metric], TARGET)


def test_what_is_measured_is_shown(families: list[Metric], series: Stored) -> None:
    names = {f.name: {f.name + suffix for suffix in SUFFIXES.get(f.type, ("",))} for f in families}
    assert [name for name, has in names.items() if not has <= series.keys()] == [], "has no series"
    asked = set(re.findall(r"\w+", " ".join(query for _, query, _ in queries())))
    assert [name for name, has in names.items() if not has & asked] == [], "nobody asks for it"


def test_the_table_of_what_is_measured_has_every_metric_with_its_labels_and_no_other(families: list[Metric]) -> None:
    rows = [line.split("|") for line in (DEPLOY / "README.md").read_text().splitlines() if line.startswith("| `")]
    told = {
        name: set(re.findall(r"`(\w+)`", row[2]))
        for row in rows
        if len(row) == 5
        for name in re.findall(r"`(\w+)`", row[1])
    }
    assert told == {
        family.name + ("_total" if family.type == "counter" else ""): set(family.samples[0].labels) - {"le"}
        for family in families
    }


def test_each_rule_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    expected = [(each["alertname"], bool(each.get("exp_alerts"))) for case in CASES for each in case["alert_rule_test"]]
    assert set(expected) == set(itertools.product((rule["alert"] for rule in RULES), (True, False)))


def test_the_cases_of_the_rules_are_of_series_that_are_stored(series: Stored) -> None:
    for case in CASES:
        for each in case["input_series"]:
            selector = promql_parser.parse(each["series"])
            given = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
            assert selector.name in series, each
            assert given.keys() == series[selector.name][0].keys(), each


def prometheus_tool(*arguments: str) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    done = subprocess.run([tool, *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_reads_its_configuration_and_the_rules() -> None:
    prometheus_tool("check", "config", "prometheus.yml")


def test_prometheus_fires_each_rule_when_it_should() -> None:
    prometheus_tool("test", "rules", "alerts.test.yml")


def test_the_dashboard_is_one_that_grafana_loads() -> None:
    assert {"title", "uid", "schemaVersion", "panels"} <= DASHBOARD.keys()
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    source = {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
    assert sorted(panel["id"] for panel in PANELS) == list(range(1, len(PANELS) + 1))
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    taken: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        assert panel["type"] in {"stat", "gauge", "bargauge", "timeseries", "table"}, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in {"short", "percentunit", "s", "ms", "ops"}, panel["title"]
        assert panel["datasource"] == source
        assert [target["refId"] for target in panel["targets"]] == list("ABC"[: len(panel["targets"])])
        for target in panel["targets"]:
            assert target["datasource"] == source
            # A table of series over time shows one series only.
            assert (panel["type"] == "table") == (target.get("instant") is True and target.get("format") == "table")
        place = panel["gridPos"]
        across, down = (range(place[at], place[at] + place[size]) for at, size in ("xw", "yh"))
        cells = set(itertools.product(across, down))
        assert cells, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken.keys(), f"{panel['title']} lies over {taken[min(cells & taken.keys())]}"
        taken |= dict.fromkeys(cells, panel["title"])

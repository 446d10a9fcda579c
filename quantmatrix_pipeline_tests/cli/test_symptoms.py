"""Each procedure of docs/operations.md (Symptoms) runs as it stands there: its commands on a real warehouse, in their
order; the jobs that it says to press exist; and where a state is broken, it is mended afterwards.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import yaml
from fastapi.testclient import TestClient
from pydantic import SecretStr

from quantmatrix_pipeline.alerts.runbook import CHECKS, KINDS
from quantmatrix_pipeline.alerts.troubles import Kind
from quantmatrix_pipeline.api.app import create_app
from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.embedded_programs import program
from quantmatrix_pipeline_tests.cli.conftest import Installation
from quantmatrix_pipeline_tests.conftest import _database

ROOT = Path(__file__).resolve().parents[2]
MANUAL = (ROOT / "docs" / "operations.md").read_text()
SYMPTOMS = dict(
    re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", MANUAL.split("\n## Symptoms\n")[1].split("\n## ")[0], re.M | re.S)
)
NOTICED = (
    "0 members", "over 48 hours", "five minutes at 0", "worker is offline", "Every vendor", "Gaps stay", "lags",
    "Redis", "No data", "Rate limited", "database is away", "API does not start", "backfill stands", "Queries are slow",
)  # fmt: skip
# The doctor finds no daemon here, and the log of a server that is not embedded is not ours; the rest ends with 0.
MAY_END_WITH = {"qm doctor": 1, "qm logs database": 2}
BREAK = {
    "An index has 0 members": "UPDATE index_constituents SET is_active = false, became_inactive_at = last_seen",
    "Many symbols over 48 hours": """
        DELETE FROM price_data_1d WHERE session > (SELECT max(session) - 3 FROM price_data_1d)
          AND instrument_id IN (SELECT instrument_id FROM symbol_universe ORDER BY instrument_id LIMIT 8)
    """,
    "Gaps stay open": "DELETE FROM price_data_1d WHERE session = '2021-12-21'",
}


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_there_is_a_procedure_for_each_symptom_that_people_notice() -> None:
    assert len(SYMPTOMS) == len(NOTICED)
    for words in NOTICED:
        assert [heading for heading in SYMPTOMS if words in heading], words
    for heading, text in SYMPTOMS.items():
        assert commands(text), heading
        assert re.search(r"\b[Pp]ress\b|\bstart\b", text), heading


def test_each_alert_rule_leads_to_a_heading_that_exists_once() -> None:
    anchors = [anchor(heading) for heading in re.findall(r"^#+ (.+)$", MANUAL, re.M)]
    assert sorted({a for a in anchors if anchors.count(a) > 1}) == []
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    leads = {rule["alert"]: rule["annotations"]["runbook_url"].partition("/operations.md#")[2] for rule in rules}
    assert set(leads.values()) <= set(anchors)
    assert leads["RunsFail"] == KINDS[Kind.FAILED_RUN]
    assert leads["CoverageBelowTarget"] == CHECKS["coverage_report.coverage_at_target"]


def test_the_jobs_that_are_to_be_pressed_exist() -> None:
    jobs = {job.name for job in build_defs().resolve_all_job_defs()}
    pressed = re.findall(r"press\s+`(\w+)`", "\n".join(SYMPTOMS.values()), re.I)
    assert len(pressed) >= 9
    assert set(pressed) <= jobs


@pytest.fixture(scope="module")
def own(
    filled: Installation, server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """A copy of the filled installation, to be broken, with the logs that `qm up` leaves."""
    data_dir = tmp_path_factory.mktemp("symptoms")
    (data_dir / "logs").mkdir()
    for name in ("api", "ui", "daemon"):
        (data_dir / "logs" / f"{name}.log").write_text("started\n")
    (data_dir / "settings").touch()
    with contextmanager(_database)(server, filled.url.rsplit("/", 1)[1]) as url:
        yield replace(filled, url=url, data_dir=data_dir, more={"QM_ENV_FILE": str(data_dir / "settings")})


@pytest.mark.parametrize("heading", BREAK)
def test_the_procedure_mends_what_was_broken(own: Installation, server: EmbeddedServer, heading: str) -> None:
    with psycopg.connect(own.url) as connection:
        assert connection.execute(BREAK[heading]).rowcount > 0
    for command in commands(SYMPTOMS[heading]):
        run(own, server, command)
    if not any(command.startswith("qm run") for command in commands(SYMPTOMS[heading])):
        assert own.qm("run").code == 0
    # GHOST is a member of the index that no file knows.
    expected = f"{own.folder.sessions[-1]} degraded: 1 without any bar: GHOST -> press backfill_stale_daily"
    assert own.qm("status").stdout.splitlines()[0] == expected


def test_the_commands_of_the_other_procedures_run(own: Installation, server: EmbeddedServer) -> None:
    done = {command for heading in BREAK for command in commands(SYMPTOMS[heading])}
    others = [command for heading, text in SYMPTOMS.items() if heading not in BREAK for command in commands(text)]
    for command in dict.fromkeys(others):
        if command not in done:
            run(own, server, command)


def commands(text: str) -> list[str]:
    return [line[2:] for line in text.splitlines() if line.startswith("$ ")]


def run(own: Installation, server: EmbeddedServer, command: str) -> None:
    """Run one line of the manual: `qm` and `psql` as they are, `curl` against the API over the same database."""
    words = shlex.split(command)
    database = own.url.rsplit("/", 1)[1]
    if words[0] == "qm":
        done = own.qm(*words[1:])
        assert done.code in (0, MAY_END_WITH.get(command, 0)), (command, done.stdout, done.stderr)
        assert done.stdout or done.code, command
    elif words[0] == "psql":
        urls = {"$(qm db url)": server.url(database, "qm_reader"), "$(qm db url --role owner)": own.url}
        shell = [program("psql"), "-v", "ON_ERROR_STOP=1", urls[words[1]], *words[2:]]
        psql = subprocess.run(shell, capture_output=True, text=True, timeout=60)
        assert psql.returncode == 0, (command, psql.stderr)
    else:
        assert words[:2] == ["curl", "-s"], command
        path = words[2].removeprefix("http://127.0.0.1:8000")
        settings = Settings(database_url=SecretStr(server.url(database, "qm_reader")))
        with TestClient(create_app(settings)) as client:
            assert client.get(path).status_code == 200, command

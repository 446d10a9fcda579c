"""The failover drill: a key goes bad, the next vendor serves and says why; the key comes back, and its vendor too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql

from quantmatrix_pipeline_tests.cli.test_up import free_port
from quantmatrix_pipeline_tests.pipeline.running import CALENDAR, walk
from quantmatrix_pipeline_tests.vendor_server import KEYS, Market, Vendors, vendors

DAYS: list[date] = list(CALENDAR.window(CALENDAR.newest_closed(datetime.now(UTC), timedelta(minutes=30)), 20).tolist())
BAD = "finnhubKEYthatIsRefused77"
ALL_KEYS = (*KEYS.values(), BAD)
START_SECONDS = 60


@dataclass
class Platform:
    """`qm` and the read API of one user, whose settings are in a file, and all that either of them ever said."""

    environment: Mapping[str, str]
    file: Path
    api: str
    said: list[str] = field(default_factory=list)

    def write(self, **variables: str) -> None:
        """Put a new file in the place of the old one."""
        new = self.file.with_suffix(".new")
        new.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        new.replace(self.file)

    def qm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "quantmatrix_pipeline", *arguments],
            env=dict(self.environment),
            cwd=self.file.parent,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.said += [done.stdout, done.stderr]
        return done

    def quote(self) -> dict[str, Any]:
        done = self.qm("vendors", "ask", "quote", "AAPL", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        answer: dict[str, Any] = json.loads(done.stdout)
        assert answer["answer"]["symbol"] == "AAPL"
        return answer

    def get(self, route: str) -> httpx.Response:
        response = httpx.get(f"{self.api}{route}", timeout=30, trust_env=False)
        self.said.append(response.text)
        assert response.status_code == 200, response.text
        return response

    def finnhub(self) -> dict[str, Any]:
        """Return what the API says of Finnhub; holds it to parts that sum."""
        body = self.get("/stats/providers").json()
        (found,) = [each for each in body["providers"] if each["provider"] == "finnhub"]
        assert sum(found["parts"].values()) == pytest.approx(found["health_score"], abs=1e-12)
        return dict(found)

    def circuit_state(self) -> float:
        """Return the metric `circuit_state{provider="finnhub"}`."""
        families = text_string_to_metric_families(self.get("/metrics").text)
        samples = [sample for family in families for sample in family.samples]
        (found,) = [s for s in samples if s.name == "circuit_state" and s.labels == {"provider": "finnhub"}]
        return found.value


@pytest.fixture
def market() -> Iterator[Vendors]:
    with vendors(Market(walk(["AAPL"], DAYS))) as running:
        yield running


@pytest.fixture
def platform(market: Vendors, database_url: str, tmp_path: Path) -> Iterator[Platform]:
    port = free_port()
    file = tmp_path / "ours.env"
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")} | {
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "QM_ENV_FILE": str(file),
        "QM_DATABASE_URL": database_url,
        "QM_DATA_DIR": str(tmp_path / "qm"),
        "QM_API_PORT": str(port),
        "QM_UI_PORT": str(free_port()),
    }
    platform = Platform(environment, file, f"http://127.0.0.1:{port}")
    platform.write(**market.settings("finnhub", "twelve_data"))
    with (tmp_path / "api.log").open("w+") as log:
        api = subprocess.Popen(
            [sys.executable, "-m", "quantmatrix_pipeline.api"], env=environment, cwd=tmp_path, stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    httpx.get(f"{platform.api}/health", trust_env=False)
                    break
                except httpx.ConnectError:
                    assert api.poll() is None, (tmp_path / "api.log").read_text()
                    assert time.monotonic() < deadline, (tmp_path / "api.log").read_text()
                    time.sleep(0.1)
            yield platform
        finally:
            api.send_signal(signal.SIGTERM)
            api.wait(30)
    told = (tmp_path / "api.log").read_text()
    assert not [key for key in ALL_KEYS if key in told], "a key is in the API's log"


def keys_in_the_database(url: str) -> list[str]:
    """Return `table.column` of whatever holds a key as text, of whichever type it is stored."""
    with psycopg.connect(url) as connection:
        columns = connection.execute(
            "SELECT table_schema, table_name, column_name FROM information_schema.columns"
            " JOIN information_schema.tables USING (table_schema, table_name)"
            " WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'"
        ).fetchall()
        assert ("public", "provider_circuits", "key_mark") in columns
        found = []
        for schema, table, column in columns:
            statement = sql.SQL("SELECT count(*) FROM {}.{} WHERE {}::text ~ %s").format(
                *(sql.Identifier(name) for name in (schema, table, column))
            )
            row = connection.execute(statement, ("|".join(ALL_KEYS),)).fetchone()
            if row != (0,):
                found.append(f"{schema}.{table}.{column}")
    return found


def test_a_bad_key_moves_questions_to_the_next_vendor_and_the_good_one_brings_them_back(
    platform: Platform, market: Vendors, database_url: str
) -> None:
    good = market.settings("finnhub", "twelve_data")
    assert platform.quote()["vendor"] == "finnhub"
    assert (platform.finnhub()["state"], platform.circuit_state()) == ("closed", 1.0)

    platform.write(**{**good, "FINNHUB_API_KEY": BAD})
    reloaded = platform.qm("reload")
    assert (reloaded.returncode, reloaded.stderr) == (0, "")
    assert "finnhub: key set" in reloaded.stdout
    answer = platform.quote()
    assert answer["vendor"] == "twelve_data"
    assert "Invalid API key" in answer["passed_over"]["finnhub"]

    stats = platform.finnhub()
    assert (stats["state"], stats["parts"]["breaker"]) == ("open", 0.0)
    assert stats["circuits"]["quotes"]["state"] == "open"
    assert stats["circuits"]["quotes"]["reason"] == "AuthFailed"
    assert platform.circuit_state() == 0.0

    market.forget()
    answer = platform.quote()
    assert (answer["vendor"], market.count()) == ("twelve_data", {"twelve_data": 1}), "an open circuit costs no call"
    assert "circuit open until" in answer["passed_over"]["finnhub"]
    assert "after AuthFailed" in answer["passed_over"]["finnhub"]

    platform.write(**{**good, "POLICY_QUOTES_L1": "yahoo", "QM_FINNHUB_BUDGET": "lots"})
    refused = platform.qm("reload")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "QM_FINNHUB_BUDGET" in refused.stderr
    body = platform.get("/stats/providers").json()
    assert "QM_FINNHUB_BUDGET" in body["settings_refused"]
    assert body["policies"]["quotes"][0] == "finnhub", "none of the file is in force"
    assert (platform.finnhub()["state"], platform.circuit_state()) == ("open", 0.0), "nor is its key"

    platform.write(**good)
    reloaded = platform.qm("reload")
    assert (reloaded.returncode, reloaded.stderr) == (0, "")
    answer = platform.quote()
    assert answer["vendor"] == "finnhub"
    assert "finnhub" not in answer["passed_over"]
    assert platform.get("/stats/providers").json()["settings_refused"] is None
    stats = platform.finnhub()
    assert stats["circuits"].get("quotes") is None
    assert (stats["state"], platform.circuit_state()) == ("closed", 1.0)

    assert {call.query["token"] for call in market.calls("finnhub")} == {KEYS["finnhub"]}
    assert not [text for text in platform.said if any(key in text for key in ALL_KEYS)]
    assert keys_in_the_database(database_url) == []

"""`qm reload`: a file that is wrong changes nothing, one that is right says what is in force."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from quantmatrix_pipeline_tests.cli.conftest import Done
from quantmatrix_pipeline_tests.cli.test_up import free_port

SECRET = "s3cretKEY0123456789"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ours.env"


def test_without_a_file_of_settings_the_schedules_are_read_again(shell: Callable[..., Done], tmp_path: Path) -> None:
    ours = tmp_path / "ours.yaml"
    ours.write_text("version: 1\nschedules:\n  ours: {job: restate, cron: 0 1 * * *}\n")
    named = {"QM_SCHEDULES_FILE": str(ours), "QM_UI_PORT": str(free_port()), "QM_DATA_DIR": str(tmp_path / "qm")}
    done = shell("reload", **named)
    assert (done.code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "in force from the environment alone" in lines[0]
    assert lines[-2] == f"schedules: 1 of {ours}"
    assert lines[-1].startswith("nothing to reload: no Dagster UI runs at")
    ours.write_text("version: 1\nschedules:\n  ours: {job: restate, cron: 0 1 * *}\n")
    said = shell("reload", **named).stdout.splitlines()[-2]
    assert said.startswith("schedules: nothing is scheduled, since no good file was in force before")
    assert f"{ours}: ours.cron" in said


def test_a_wrong_file_is_a_line_per_fault_and_nothing_is_in_force(shell: Callable[..., Done], file: Path) -> None:
    file.write_text(f"POLICY_EODD=fmp\nFINNHUB_API_KEY={SECRET} x\nQM_FMP_BUDGET=lots\n{SECRET}\nPOLICY_EOD=iex\n")
    done = shell("reload", QM_ENV_FILE=str(file))
    assert (done.code, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("error ") and str(file) in line for line in lines)
    for named in ("POLICY_EODD", "FINNHUB_API_KEY", "QM_FMP_BUDGET", "line 4", "POLICY_EOD in"):
        assert sum(named in line for line in lines) == 1
    assert SECRET not in done.stderr


def test_a_right_file_says_policies_budgets_keys_and_what_the_environment_hides(
    shell: Callable[..., Done], file: Path
) -> None:
    file.write_text(
        f"FINNHUB_API_KEY={SECRET}\nQM_FINNHUB_BUDGET=300/min\nQM_BINANCE_BUDGET=none\n"
        "POLICY_EOD=massive,yahoo\nMARKET_PROVIDER_POLICY=paid\n"
    )
    port = free_port()
    named = {"QM_ENV_FILE": str(file), "QM_UI_PORT": str(port), "QM_MARKET_PROVIDER_POLICY": "free"}
    done = shell("reload", **named)
    assert (done.code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "MARKET_PROVIDER_POLICY in the file is without effect: QM_MARKET_PROVIDER_POLICY wins" in lines
    assert "policy of daily_bars: polygon (no key) -> yfinance" in lines
    assert (
        "policy of bars_5m, bars_1m, quotes: finnhub -> twelve_data (no key) -> alpha_vantage (no key) -> yfinance"
        in lines
    )
    assert "finnhub: key set, budget 300/min" in lines
    assert "polygon: POLYGON_API_KEY is not set; skipped" in lines
    assert "coingecko: COINGECKO_API_KEY is not set; asked without, budget 30/min 320/day" in lines
    assert "binance: needs no key, no budget" in lines
    assert lines[-1].startswith(f"nothing to reload: no Dagster UI runs at http://127.0.0.1:{port}; `qm up` starts one")
    assert SECRET not in done.stdout


def test_another_server_on_the_uis_port_is_not_taken_for_dagster(shell: Callable[..., Done], file: Path) -> None:
    file.write_text("")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        done = shell("reload", QM_ENV_FILE=str(file), QM_UI_PORT=str(port))
        server.shutdown()
    assert done.code == 0, done.stderr
    assert f"what answers at http://127.0.0.1:{port} is no Dagster UI" in done.stdout


def test_a_server_that_hangs_up_is_one_line(shell: Callable[..., Done], file: Path) -> None:
    file.write_text("")
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        done = shell("reload", QM_ENV_FILE=str(file), QM_UI_PORT=str(server.getsockname()[1]))
    assert done.code == 1
    assert "QM_UI_PORT" in done.error

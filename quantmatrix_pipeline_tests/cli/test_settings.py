"""Settings as a user gets them wrong: one line that names the variable, exit code 2, and no password anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from quantmatrix_pipeline_tests.cli.conftest import Done, Installation


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("QM_API_PORT", "abc"),
        ("QM_API_PORT", "70000"),
        ("QM_SOURCE", "nonsense"),
        ("QM_ENV_FILE", "/nowhere/qm.env"),
        ("QM_DATABASE_URL", "mysql://user:hidden@localhost/db"),
        ("QM_START_SESSION", "yesterday"),
        ("QM_COVERAGE_TARGET", "90"),
        ("QM_LOG_LEVEL", "loud"),
        ("QM_NIGHTLY_CRON", "at five"),
        ("QM_NOW", "2021-12-31"),
        ("QM_FILES_DIR", "/nowhere/files"),
        ("QM_CALENDAR", "XXXX"),
        ("POLICY_EOD", "fmp,iex"),
        ("MARKET_PROVIDER_POLICY", "cheap"),
        ("QM_FINNHUB_BUDGET", "60 per minute"),
        ("QM_FMP_BASE_URL", "https://user:hidden@proxy.example"),
        ("FINNHUB_API_KEY", "hidden key"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_its_variable(migrated: Installation, variable: str, value: str) -> None:
    done = migrated.qm("run", **{variable: value})
    assert done.code == 2, done.stderr
    assert variable in done.error
    assert "hidden" not in done.stderr


def test_the_replaced_systems_name_of_a_variable_is_named_when_it_was_the_one_set(migrated: Installation) -> None:
    assert "API_PORT" in migrated.qm("status", API_PORT="abc").error


def test_a_new_interpreter_says_it_in_one_line_too_and_debug_shows_the_traceback(shell: Callable[..., Done]) -> None:
    done = shell("status", QM_API_PORT="abc")
    assert done.code == 2
    assert "QM_API_PORT" in done.error
    debugged = shell("--debug", "status", QM_API_PORT="abc")
    assert debugged.code != 0
    assert "Traceback" in debugged.stderr
    assert "QM_API_PORT" in debugged.stderr


def test_a_dotenv_that_lies_around_is_not_read(shell: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("QM_API_PORT=abc\nQM_DATABASE_URL=mysql://u:p@h/d\n")
    done = shell("db", "status", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "stopped" in done.stdout


def test_the_file_that_qm_env_file_names_is_read_and_the_environment_wins_over_it(
    shell: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "ours.env").write_text("QM_API_PORT=abc\n")
    named = {"QM_ENV_FILE": str(tmp_path / "ours.env")}
    assert "QM_API_PORT" in shell("db", "status", **named).error
    assert shell("db", "status", **named, QM_API_PORT="8123").code == 0


def test_the_replaced_systems_name_of_the_database_is_understood(filled: Installation) -> None:
    done = filled.qm("db", "url", QM_DATABASE_URL=None, DATABASE_URL=filled.url)
    assert (done.code, done.stdout.strip()) == (0, filled.url)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("RLC_REDIS_URL", "redis://127.0.0.1:9/0", "redis"),
        ("DISCORD_WEBHOOK_SYSTEM_STATUS", "http://127.0.0.1:9/hook", "failures go to system_status"),
    ],
)
def test_the_doctor_sees_what_an_old_name_sets(filled: Installation, name: str, value: str, shown: str) -> None:
    assert shown in filled.qm("doctor", **{name: value}).stdout


def test_the_doctor_says_of_each_vendor_whether_it_can_be_asked_and_who_serves_what(migrated: Installation) -> None:
    keys = ("FMP", "TWELVE_DATA", "ALPHA_VANTAGE", "POLYGON", "COINGECKO", "CRYPTOCOMPARE", "FRED")
    unset = {f"{vendor}_API_KEY": "" for vendor in keys}
    changed = {**unset, "FINNHUB_API_KEY": "hidden", "QM_YAHOO_BUDGET": "60/min", "POLICY_EOD": "fmp,finnhub"}
    done = migrated.qm("doctor", **changed)
    lines = done.stdout.splitlines()
    assert "note fmp: FMP_API_KEY is not set; skipped" in lines
    assert "ok   finnhub: key set, budget 30/s 60/min" in lines
    assert "ok   yfinance: needs no key, budget 60/min" in lines
    assert "ok   coingecko: COINGECKO_API_KEY is not set; asked without, budget 30/min 320/day" in lines
    assert "ok   policy of daily_bars: fmp (no key) -> finnhub" in lines
    assert "note policy of macro: fred (no key)" in lines
    assert len([line for line in lines if line.startswith("ok   schedules file: ")]) == 1
    assert "hidden" not in done.stdout
    as_json = migrated.qm("doctor", "--json", **changed)
    states = {finding["what"]: finding["state"] for finding in json.loads(as_json.stdout)}
    assert (states["fmp"], states["finnhub"], states["policy of macro"]) == ("note", "ok", "note")
    # A vendor without its key is nothing wrong.
    assert done.code == as_json.code == (1 if "bad" in states.values() else 0)

"""`qm logs`: where they are, how large they become, what they never show."""

from __future__ import annotations

import os
import string
import time
from pathlib import Path
from urllib.parse import quote, unquote

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.cli import log_files
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.settings.loading import VARIABLES
from quantmatrix_pipeline_tests.cli.conftest import Installation
from quantmatrix_pipeline_tests.faults import chain


@pytest.fixture
def daemon_log(migrated: Installation) -> Path:
    file = migrated.data_dir / "logs" / "daemon.log"
    file.parent.mkdir(parents=True)
    file.write_text("".join(f"line {n}\n" for n in range(100)))
    return file


def test_without_a_name_it_says_where_each_log_is(migrated: Installation, daemon_log: Path) -> None:
    said = migrated.qm("logs").stdout
    assert str(daemon_log) in said
    assert "never" in said  # the API has not run here


def test_keys_and_passwords_in_a_log_are_not_shown(migrated: Installation, daemon_log: Path) -> None:
    password = migrated.url.split(":")[2].split("@")[0]
    daemon_log.write_text(f"asked {migrated.url} and https://vendor/?apikey=SECRETKEY123, {password}\n")
    done = migrated.qm("logs", "daemon", FMP_API_KEY="SECRETKEY123")
    assert done.code == 0, done.stderr
    assert password not in done.stdout
    assert "SECRETKEY123" not in done.stdout
    assert "https://vendor/?apikey=***" in done.stdout


def test_all_of_them_say_their_newest_lines_each_under_its_name(migrated: Installation, daemon_log: Path) -> None:
    ui = daemon_log.with_name("ui.log")
    ui.write_text("asked with SECRETKEY123\n")
    done = migrated.qm("logs", "all", "-n", "1", FMP_API_KEY="SECRETKEY123")
    assert done.stdout.splitlines() == [f"--- ui: {ui}", "asked with ***", f"--- daemon: {daemon_log}", "line 99"]
    assert "one log" in migrated.qm("logs", "all", "--follow").error


def test_an_unknown_name_and_a_log_not_begun_are_one_line(migrated: Installation) -> None:
    assert "api, code, ui, daemon, all" in migrated.qm("logs", "worker").error
    for name in ("api", "all"):
        assert "qm up" in migrated.qm("logs", name).error


def test_it_follows_a_log_through_a_rotation(migrated: Installation, daemon_log: Path) -> None:
    arguments = ["logs", "daemon", "-n", "2", "--follow"]
    qm = chain.start(arguments, migrated.environment, migrated.data_dir)
    try:
        _until(qm, "line 99\n")
        assert qm.stdout == "line 98\nline 99\n"
        with daemon_log.open("a") as file:
            file.write("before\n")
            file.flush()
            _until(qm, "before\n")
            assert log_files.rotate(daemon_log, largest=100)
            file.write("after\n")
        _until(qm, "after\n")
    finally:
        qm.kill()
    assert qm.stdout == "line 98\nline 99\nbefore\nafter\n"


def _until(qm: chain.Qm, end: str) -> None:
    deadline = time.monotonic() + 30
    while not qm.stdout.endswith(end):
        assert qm.running, qm.output
        assert time.monotonic() < deadline, qm.output
        time.sleep(0.02)


def test_a_writer_goes_on_in_the_same_file_and_so_many_old_ones_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "api.log"
    writer = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in range(5):
        os.write(writer, b"%d" % number * 200)
        assert log_files.rotate(file, largest=100, kept=3)
    os.write(writer, b"new")
    os.close(writer)
    assert not log_files.rotate(file, largest=100, kept=3)
    found = {path.name: path.read_bytes()[:3] for path in tmp_path.iterdir()}
    assert found == {"api.log": b"new", "api.log.1": b"444", "api.log.2": b"333", "api.log.3": b"222"}


# --- secrets one by one ---------------------------------------------------------------------------------------------

letters = string.ascii_letters + string.digits + "-_"
token = st.text(letters, min_size=16, max_size=40)
password = st.text(letters + "!@#%/:&+ ", min_size=1, max_size=30)


@st.composite
def configured(draw: st.DrawFn) -> tuple[dict[str, str], list[str]]:
    """Return settings that list or hold secrets, and each of these as a log may show it."""
    keys = draw(st.lists(token, min_size=1, max_size=3, unique=True))
    hooks = [
        f"https://hooks.example/services/{key}" for key in draw(st.lists(st.text(letters, min_size=4), min_size=2))
    ]
    database, mail, redis = (quote(draw(password), safe="") for _ in range(3))
    inside = draw(token)
    settings = {
        "QM_ADMIN_API_KEYS": ", ".join(f"n{n}:{key}" if n else key for n, key in enumerate(keys)),
        "QM_ALERT_CHANNELS": f"slack, {hooks[0]}",
        "QM_ALERT_ROUTES": "; ".join(f"team:t{n}=email,{hook}" for n, hook in enumerate(hooks[1:])),
        "QM_SLACK_WEBHOOK": f"https://hooks.slack.com/services/T0/B0/{inside}",
        "QM_DATABASE_URL": f"postgresql://ada:{database}@db.example:5432/market?sslmode=require",
        "QM_SMTP_URL": f"smtp://ada:{mail}@mail.example:587",
        "QM_REDIS_URL": f"redis://:{redis}@redis.example:6379/0",
        "FMP_API_KEY": draw(token),
    }
    logged = [
        *keys,
        *hooks,
        *(hook.removeprefix("https://hooks.example") for hook in hooks),
        inside,
        settings["FMP_API_KEY"],
        f"ada:{database}@db.example",
        f"ada:{mail}@mail.example",
        f":{redis}@redis.example",
        *(form for word in (database, mail, redis) for form in (word, unquote(word)) if len(form) >= 6),
    ]
    return settings, logged


@hypothesis.settings(max_examples=40, deadline=None)
@given(configured())
def test_no_key_address_or_password_of_any_list_is_shown(found: tuple[dict[str, str], list[str]]) -> None:
    variables, logged = found
    with pytest.MonkeyPatch.context() as patch:
        for names in VARIABLES.values():
            for name in names:
                patch.delenv(name, raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        hidden = log_files.secrets(load())
    for secret in logged:
        shown = log_files.redacted(f"POST <{secret}> failed", hidden)
        assert secret not in shown
        assert shown.startswith("POST <")
        assert shown.endswith("> failed")
    plain = "sslmode=require: team:t1 told slack and email; market on db.example"
    assert log_files.redacted(plain, hidden) == plain, "what is no secret stays readable"

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from quantmatrix_pipeline import settings
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.routing.router import Router
from quantmatrix_pipeline.providers.select import build, constituents_sources
from quantmatrix_pipeline_tests.unit.providers.vendors.folders import HEADER, RAW, folder
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Reply, replay

BARS = {"bars.csv": f"{HEADER}\nA,2021-01-04,1,2,0.5,1.5,1\n", "m.csv": "symbol\nA\n"}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QM_SOURCE", "QM_FILES_DIR", "QM_YAHOO_BASE_URL", "QM_ENV_FILE", "POLYGON_API_KEY", "FMP_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_auto_takes_the_named_folder_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_FILES_DIR", str(folder(tmp_path, RAW, BARS)))
    chosen = build(settings.load())
    assert chosen.provider.name == "files"
    assert str(tmp_path) in chosen.reason


def test_auto_takes_yahoo_where_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with replay(lambda _: Reply('{"chart": {}}')) as server:
        monkeypatch.setenv("QM_YAHOO_BASE_URL", server.url)
        chosen = build(settings.load())
    assert chosen.provider.name == "vendors"
    assert "and Yahoo answers" in chosen.reason


def test_auto_takes_the_vendors_whose_keys_are_set_without_asking_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_YAHOO_BASE_URL", closed_port())
    monkeypatch.setenv("POLYGON_API_KEY", "abc")
    chosen = build(settings.load())
    assert chosen.provider.name == "vendors"
    assert chosen.reason == "bars from polygon, yfinance"


def test_auto_falls_back_to_the_sample_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bokeh_sampledata", reason="the extra `sample` is not installed")
    monkeypatch.setenv("QM_YAHOO_BASE_URL", closed_port())
    chosen = build(settings.load())
    assert chosen.provider.name == "sample"
    assert "Yahoo does not answer" in chosen.reason
    assert constituents_sources(settings.load(), chosen.provider) == ()


def test_yahoo_alone_is_the_vendors_without_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_SOURCE", "yfinance")
    monkeypatch.setenv("POLYGON_API_KEY", "abc")
    router = build(settings.load()).provider
    assert isinstance(router, Router)
    assert router.policies.of(Capability.GROUPED_BARS) == router.policies.of(Capability.DAILY_BARS)
    assert router.policies.of(Capability.DAILY_BARS) == ("yfinance", "wikipedia")


def test_a_broken_declaration_is_an_error_and_no_reason_to_look_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_FILES_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"source\.toml"):
        build(settings.load())


def test_files_without_a_folder_is_an_error_that_names_both_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_SOURCE", "files")
    with pytest.raises(ConfigurationError, match="QM_SOURCE=files needs QM_FILES_DIR"):
        build(settings.load())


@pytest.mark.parametrize(("source", "name"), [("vendors", "vendors"), ("yfinance", "vendors"), ("sample", "sample")])
def test_a_named_source_is_taken_without_asking_anybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, name: str
) -> None:
    monkeypatch.setenv("QM_SOURCE", source)
    monkeypatch.setenv("QM_FILES_DIR", str(tmp_path / "gone"))
    monkeypatch.setenv("QM_YAHOO_BASE_URL", closed_port())
    assert build(settings.load()).provider.name == name


@pytest.mark.parametrize(
    ("more", "names"), [("", ["wikipedia"]), ('[constituents]\nSP500 = "m.csv"\n', ["files", "wikipedia"])]
)
def test_members_come_from_the_files_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, names: list[str]
) -> None:
    monkeypatch.setenv("QM_FILES_DIR", str(folder(tmp_path, RAW + more, BARS)))
    loaded = settings.load()
    assert [p.name for p in constituents_sources(loaded, build(loaded).provider)] == names

"""`qm reconcile`: two files compared and what the nights found, as a user sees it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quantmatrix_pipeline.cli.reconcile import app
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.warehouse import bars, instruments, reconciliation
from quantmatrix_pipeline.warehouse.engine import Warehouse

HEADER = "symbol,date,open,high,low,close,volume"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Twenty days of two stocks; the second file has the split of one, and a low of the other, that the first lacks."""
    first, second = [HEADER], [HEADER]
    for day in range(1, 21):
        close = 100 + day % 3
        split = 2 if day < 11 else 1
        first.append(f"AAA,2020-01-{day:02},{close},{close + 1},{close - 1},{close},1000")
        second.append(
            f"AAA,2020-01-{day:02},{close / split},{(close + 1) / split},{(close - 1) / split},{close / split},"
            f"{1000 * split}"
        )
        first.append(f"BBB,2020-01-{day:02},{50 + day / 50},51,49,50.5,1000")
        second.append(f"BBB,2020-01-{day:02},{50 + day / 50},51,{40 if day == 7 else 49},50.5,1000")
    paths = [tmp_path / "first.csv", tmp_path / "second.csv"]
    for path, lines in zip(paths, (first, second), strict=True):
        path.write_text("\n".join(lines))
    return [str(path) for path in paths]


def test_two_files_are_compared_and_each_difference_has_its_cause(files: list[str]) -> None:
    shown = CliRunner().invoke(app, ["files", *files], catch_exceptions=False)
    assert "40 bars in both, 0 in the first only, 0 in the other" in shown.stdout
    assert "11 differ in a price by more than 0.2 %, 100.00% of them with a cause" in shown.stdout
    found = json.loads(CliRunner().invoke(app, ["files", *files, "--json"], catch_exceptions=False).stdout)
    assert found["causes"] == {"split_vintage": 10, "bad_print": 1}
    (stretch,) = found["stretches"]
    assert (stretch["symbol"], stretch["ex_date"]) == ("AAA", "2020-01-11")
    assert stretch["price_ratio"] == pytest.approx(0.5)
    only = json.loads(CliRunner().invoke(app, ["files", *files, "--symbol", "BBB", "--json"]).stdout)
    assert (only["bars"], only["causes"]) == (20, {"bad_print": 1})


def test_what_cannot_be_compared_is_said_in_a_line(files: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.csv: no such file"):
        CliRunner().invoke(app, ["files", files[0], str(tmp_path / "nowhere.csv")], catch_exceptions=False)
    with pytest.raises(ConfigurationError, match=r"first\.csv: no bar of ZZZ"):
        CliRunner().invoke(app, ["files", *files, "--symbol", "ZZZ"], catch_exceptions=False)
    other = tmp_path / "other.csv"
    other.write_text(f"{HEADER}\nCCC,2020-01-02,1,1,1,1,1\n")
    with pytest.raises(ConfigurationError, match="no bar of one symbol and day in common"):
        CliRunner().invoke(app, ["files", files[0], str(other)], catch_exceptions=False)


def test_what_the_nights_found_is_listed(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_DATABASE_URL", database_url)
    warehouse = Warehouse(database_url)
    number = instruments.ensure(warehouse, ["AAA"])["AAA"]
    source = bars.source_id(warehouse, "twelve_data", "raw", None)
    bar = {"instrument_id": number, "session": "2021-12-31", "source_id": source, "version": 1}
    other = {f"second_{name}": 10.0 for name in ("open", "high", "low", "close", "volume")}
    said = {"cause": "bad_print", "verdict": "open", "against": ["twelve_data", "yfinance"], "asked_because": "sample"}
    low = {"field": "low", "stored": 9.5, "second": 9.0, "difference": -0.0526, "tolerance": 0.002}
    vendor = {"second_vendor": "yfinance", "second_basis": "raw", "second_basis_date": None}
    row = bar | other | said | vendor | {"run_session": "2021-12-31", "differences": [low]}
    reconciliation.write(warehouse, [row], datetime(2022, 1, 1, tzinfo=UTC))
    warehouse.close()

    listed = json.loads(CliRunner().invoke(app, ["list", "--symbol", "aaa", "--json"], catch_exceptions=False).stdout)
    assert [(d["symbol"], d["field"], d["stored"], d["second"], d["verdict"]) for d in listed] == [
        ("AAA", "low", 9.5, 9.0, "open")
    ]
    assert "1 differences" in CliRunner().invoke(app, ["list", "--verdict", "open"], catch_exceptions=False).stdout
    assert "0 differences" in CliRunner().invoke(app, ["list", "--cause", "date_shift"], catch_exceptions=False).stdout
    with pytest.raises(ConfigurationError, match="one of convention, stored, second, open"):
        CliRunner().invoke(app, ["list", "--verdict", "maybe"], catch_exceptions=False)


def test_the_causes_are_told() -> None:
    assert "date_shift" in CliRunner().invoke(app, ["causes"]).stdout

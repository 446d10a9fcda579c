"""`qm chart`: the file says what the database says, and each refusal says what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from quantmatrix_pipeline_tests.cli.conftest import Installation

SPLIT = "S002"  # its prices are raw and halve once
ADJUSTED = "S029"  # from a file of prices adjusted for splits and dividends
NUMBERS = ("rsi", "sma_50", "ema_21", "macd", "volume_avg_50d", "td_buy_setup", "gaps_unfilled_up")


def drawn_in(page: Path) -> dict[str, Any]:
    """The data sets of a page."""
    found = re.search(r'vegaEmbed\("#chart", (\{.*\}), \{actions', page.read_text())
    assert found is not None
    sets: dict[str, Any] = json.loads(found[1])["datasets"]
    return sets


def test_the_page_of_a_session_says_what_was_recorded_of_it(filled: Installation, tmp_path: Path) -> None:
    page, session = tmp_path / "chart.html", filled.folder.sessions[-2]
    done = filled.qm("chart", SPLIT.lower(), "--session", str(session), "--bars", "200", "-o", str(page))
    assert done.code == 0, done.stderr
    assert done.stdout == f"200 bars of {SPLIT} up to {session} to {page}\n"
    bars = drawn_in(page)["bars"]
    with psycopg.connect(filled.url) as connection:
        recorded = connection.execute(
            f"SELECT close, {', '.join(NUMBERS)}, stage_label"
            " FROM market_analysis_history JOIN symbols USING (instrument_id)"
            " WHERE symbol = %s AND session = %s ORDER BY revision DESC LIMIT 1",
            (SPLIT, session),
        ).fetchone()
        stored = connection.execute(
            "SELECT session, high FROM bars WHERE symbol = %s AND session <= %s ORDER BY session DESC LIMIT 200",
            (SPLIT, session),
        ).fetchall()
    assert recorded is not None
    last = bars[-1]
    *numbers, stage = recorded
    assert [last[name] for name in ("close", *NUMBERS)] == pytest.approx(numbers, rel=1e-12)
    assert (last["session"], last["stage_label"]) == (str(session), stage)
    ((ex_bar, text),) = ((split["bar"], split["text"]) for split in drawn_in(page)["splits"])
    assert text == "split 2:1"
    in_new_shares = [(str(day), high / (2 if bar < ex_bar else 1)) for bar, (day, high) in enumerate(reversed(stored))]
    assert [row["session"] for row in bars] == [day for day, _ in in_new_shares]
    assert [row["high"] for row in bars] == pytest.approx([high for _, high in in_new_shares], rel=1e-12)


def test_prices_that_a_source_had_adjusted_for_dividends_are_called_so(filled: Installation, tmp_path: Path) -> None:
    page = tmp_path / "chart.html"
    assert filled.qm("chart", ADJUSTED, "-o", str(page)).code == 0
    assert "USD, adjusted for splits and dividends" in page.read_text()


def test_a_picture_is_named_by_symbol_and_session(
    filled: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = filled.qm("chart", SPLIT)
    assert done.code == 0, done.stderr
    (file,) = tmp_path.iterdir()
    assert re.fullmatch(rf"{SPLIT}_2022-01-0\d\.png", file.name)
    assert done.stdout == f"250 bars of {SPLIT} up to {file.stem[-10:]} to {file.name}\n"
    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_session_that_the_bars_do_not_reach_ends_with_the_newest_and_says_so(
    filled: Installation, tmp_path: Path
) -> None:
    page = tmp_path / "late.html"
    done = filled.qm("chart", SPLIT, "--session", "2022-03-01", "-o", str(page))
    assert done.code == 0, done.stderr
    newest = drawn_in(page)["bars"][-1]["session"]
    assert f"{SPLIT} has no usable bar of 2022-03-01; its newest before is of {newest}" in done.stderr
    assert f"up to {newest} to" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("SPYY",), 2, ["no instrument bears the symbol 'SPYY'", "did you mean SPY"]),
        (("QQQQQQ",), 2, ["no instrument bears the symbol 'QQQQQQ'", "qm symbols list"]),
        (("SPY", "--session", "2021-07-05"), 2, ["July 4th", "2021-07-02 before and 2021-07-06 after"]),
        (("SPY", "--session", "2021-07-10"), 2, ["a Saturday", "2021-07-09 before and 2021-07-12 after"]),
        (("SPY", "--session", "2019-07-10"), 1, ["SPY has no usable bar up to 2019-07-10", "bars are of 2020-"]),
        (("GHOST",), 1, ["GHOST has no bars yet", "qm run"]),
        (("SPY", "-o", "chart.svg"), 2, ["chart.svg", "*.png or *.html"]),
        (("SPY", "-o", "chart"), 2, ["*.png or *.html"]),
        (("SPY", "-o", "nowhere/chart.png"), 2, ["nowhere is no folder"]),
    ],
)
def test_what_cannot_be_drawn_is_said_and_writes_no_file(
    filled: Installation,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
    said: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    done = filled.qm("chart", *arguments)
    assert done.code == code
    for part in said:
        assert part in done.error
    assert list(tmp_path.iterdir()) == []


def test_a_number_of_bars_that_makes_no_picture_is_refused(filled: Installation) -> None:
    done = filled.qm("chart", "SPY", "--bars", "0")
    assert done.code == 2
    assert "--bars" in done.stderr


def test_a_symbol_is_looked_up_among_the_names_of_the_day_that_is_named(filled: Installation, tmp_path: Path) -> None:
    page = tmp_path / "chart.html"
    done = filled.qm("chart", SPLIT, "--asof", "1900-01-01", "-o", str(page))
    assert done.code == 0, done.stderr
    assert f"bars of {SPLIT} up to" in done.stdout
    before = filled.qm("chart", SPLIT, "--asof", "1899-12-31", "-o", str(tmp_path / "none.html"))
    assert before.code == 2
    assert f"no instrument bore the symbol '{SPLIT}' on 1899-12-31" in before.error
    assert not (tmp_path / "none.html").exists()

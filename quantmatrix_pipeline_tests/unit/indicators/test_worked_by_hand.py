"""The engine and the answer files against single bars worked out from the definitions and the bars alone."""

from __future__ import annotations

import csv
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from quantmatrix_pipeline.indicators.catalogue import STAGE_LABELS
from quantmatrix_pipeline.indicators.engine import compute
from quantmatrix_pipeline_tests.unit.indicators.panels import column
from quantmatrix_pipeline_tests.unit.indicators.stretches import real_bars

ANSWERS = Path(__file__).resolve().parents[2] / "answers"
FAMILIES = {"td": "td_sequential", "gaps": "gaps", "trend": "trend_lines", "stage": "weekly_stage"}
Row = dict[str, str]


def worked() -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = defaultdict(list)
    with (ANSWERS / "worked_by_hand.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            rows[row["symbol"]].append(row)
    return rows


def family(row: Row) -> str:
    return FAMILIES[row["column"].split("_")[0]]


WORKED = worked()


@pytest.mark.parametrize("symbol", WORKED)
def test_the_engine_has_what_was_worked_by_hand(symbol: str) -> None:
    panel = real_bars(symbol)
    values = compute(panel)
    days = panel.session[:, 0]
    for row in WORKED[symbol]:
        bar = int(np.searchsorted(days, np.datetime64(row["session"])))
        assert days[bar] == np.datetime64(row["session"]), row
        found = column(values, row["column"], 0, panel)[bar]
        if row["column"] == "stage_label":
            assert STAGE_LABELS[int(found)] == row["expected"], row
        else:  # counts are whole; percentages were rounded to their fifth place
            assert found == pytest.approx(float(row["expected"]), rel=0, abs=0.51e-5), row


def test_the_answer_files_name_the_rules_that_moved_what_was_worked_by_hand() -> None:
    named: dict[tuple[str, str, str], set[str]] = {}
    for metric in FAMILIES.values():
        for path in ANSWERS.glob(f"{metric}*.csv"):
            with path.open(newline="") as file:
                for answer in csv.DictReader(file):
                    symbol = answer.get("symbol") or path.stem.removeprefix(f"{metric}_")
                    named[metric, symbol, answer["session"]] = set(answer["rule"].split("; "))
    told = [row for rows in WORKED.values() for row in rows if row["rule"]]
    for row in told:
        assert row["rule"] in named[family(row), row["symbol"], row["session"]], row
    assert {family(row) for row in told} == set(FAMILIES.values())


def test_every_change_of_a_label_was_worked_by_hand() -> None:
    with (ANSWERS / "weekly_stage.csv").open(newline="") as file:
        answers = [row for row in csv.DictReader(file) if row["symbol"] == "AAPL"]
    turns = {after["session"] for before, after in pairwise(answers) if before["label"] != after["label"]}
    assert turns == {row["session"] for row in WORKED["AAPL"] if row["column"] == "stage_label"}

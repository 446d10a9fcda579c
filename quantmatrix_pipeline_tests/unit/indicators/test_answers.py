"""Every rule that an answer file names stands in answers/rules.csv with what it says and two sources."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

ANSWERS = Path(__file__).resolve().parents[2] / "answers"
METRICS = ("td_sequential", "gaps", "trend_lines", "weekly_stage", "relative_strength")
COUNTED = re.compile(r"countdown \d+$")  # one rule, whichever bar of the countdown it counts


def cited() -> dict[tuple[str, str], dict[str, str]]:
    with (ANSWERS / "rules.csv").open(newline="") as file:
        return {(row["answers"], row["rule"]): row for row in csv.DictReader(file)}


def named(metric: str) -> set[tuple[str, str]]:
    rules = set()
    for path in ANSWERS.glob(f"{metric}*.csv"):
        with path.open(newline="") as file:
            rules |= {rule for row in csv.DictReader(file) for rule in row["rule"].split("; ") if rule}
    return {(metric, COUNTED.sub("countdown N", rule)) for rule in rules}


@pytest.mark.parametrize("metric", METRICS)
def test_each_rule_of_the_answers_is_said_and_has_two_sources(metric: str) -> None:
    rules = {key: row for key, row in cited().items() if key[0] == metric}
    assert named(metric) == set(rules)
    for row in rules.values():
        assert row["says"]
        assert row["source"]
        assert row["second_source"] not in ("", row["source"])


def test_every_stretch_of_the_four_symbols_has_its_answers() -> None:
    for metric in METRICS[:3]:
        assert {path.stem.removeprefix(f"{metric}_") for path in ANSWERS.glob(f"{metric}_*.csv")} == {
            *("AAPL", "IBM", "MSFT", "SPY")
        }

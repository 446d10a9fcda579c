"""Buckets, shares and the one line of a coverage report, without a database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.coverage.report import stale_symbols
from quantmatrix_pipeline.coverage.state import BUCKETS, FRESH, CoverageReport, bucket_of

SESSION = date(2021, 12, 31)


def report(buckets: Mapping[str, int], **changes: Any) -> CoverageReport:
    stale: dict[str, Sequence[str]] = {b: [f"{b}{n}" for n in range(k)] for b, k in buckets.items() if b != FRESH}
    expected = sum(buckets.values())
    facts = {
        "snapshots": expected,
        "history": expected,
        "target": 0.9,
        "delisted": 0,
        "unusable": 0,
        "indices": {},
    } | changes
    return CoverageReport(SESSION, expected, expected, buckets=buckets, stale=stale, **facts)


@pytest.mark.parametrize(
    ("age", "bucket"),
    [(0, "<=24h"), (1, "24-48h"), (2, ">48h"), (3, ">48h"), (900, ">48h"), (None, "none"), (-1, "<=24h")],
)
def test_an_age_in_sessions_has_its_bucket(age: int | None, bucket: str) -> None:
    assert bucket_of(age) == bucket


counts = st.fixed_dictionaries({bucket: st.integers(0, 80) for bucket in BUCKETS})


@given(counts)
def test_the_share_is_of_the_expected_and_the_stale_are_all_the_others(buckets: dict[str, int]) -> None:
    made = report(buckets)
    assert made.fresh + len(stale_symbols(made)) == made.expected
    assert made.share == (made.fresh / made.expected if made.expected else 1.0)
    assert stale_symbols(made) == sorted(stale_symbols(made))


@given(counts)
def test_the_json_is_json_and_names_at_most_fifty_symbols_a_bucket_but_counts_all(buckets: dict[str, int]) -> None:
    body = json.loads(json.dumps(report(buckets).as_json()))
    assert body["buckets"] == buckets
    assert body["session"] == "2021-12-31"
    assert all(len(names) == min(buckets[bucket], 50) for bucket, names in body["stale"].items())


def test_what_redis_holds_is_what_readers_of_another_system_look_for() -> None:
    made = report(
        {"<=24h": 6, "24-48h": 1, ">48h": 60, "none": 3}, indices={"SP500": 7}, reasons=("few are fresh",), job="press"
    )
    now = datetime(2022, 1, 1, tzinfo=UTC)
    held = json.loads(json.dumps(made.published(now)))
    assert (held["generated_at"], held["updated_at"], held["symbols"]) == (now.isoformat(), now.isoformat(), 70)
    assert (held["status"], held["daily"]["count"], len(held["daily"]["stale"][">48h"])) == ("degraded", 67, 50)
    assert held["m5"] == {
        "enabled": False, "reason": held["m5"]["reason"], "count": 0,
        "freshness": dict.fromkeys(BUCKETS, 0), "stale": {"24-48h": [], ">48h": [], "none": []},
    }  # fmt: skip

    # Theirs takes `snapshot` where the version is theirs and there is an instant, counts what is two days old at most,
    # and lists what is older, or missing, as rows.
    assert (held["schema_version"], bool(held["updated_at"])) == (1, True)
    theirs = held["snapshot"]
    assert (theirs["generated_at"], theirs["symbols"], theirs["tracked_count"]) == (now.isoformat(), 70, 70)
    assert (theirs["indices"], theirs["daily"]["count"], theirs["m5"]["count"]) == ({"SP500": 7}, 7, 0)
    assert theirs["daily"]["freshness"] == held["buckets"]
    assert theirs["daily"]["stale"][0] == {"symbol": ">48h0", "bucket": ">48h"}
    assert (len(theirs["daily"]["stale"]), theirs["m5"]["stale"]) == (50, [])
    assert theirs["status"] == {
        "label": "degraded", "summary": made.headline(), "daily_pct": 8.6, "m5_pct": 0.0, "stale_daily": 63,
        "stale_m5": 0,
    }  # fmt: skip
    assert theirs["meta"] == {"backfill_5m_enabled": False}, "so that nothing is promised of bars of five minutes"


def test_the_headline_says_session_state_reason_and_job() -> None:
    fine = report({"<=24h": 10, "24-48h": 0, ">48h": 0, "none": 0})
    assert (fine.status, fine.headline()) == ("ok", "2021-12-31 ok: 10 of 10 instruments fresh (100.0%)")
    broken = report({"<=24h": 9, "24-48h": 0, ">48h": 1, "none": 0}, reasons=("one", "two"), job="press_me")
    assert (broken.status, broken.headline()) == ("degraded", "2021-12-31 degraded: one; two -> press press_me")

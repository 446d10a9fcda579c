"""Each broken state names the job that mends it; of several the gravest comes first."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from quantmatrix_pipeline.coverage.diagnosis import diagnose
from quantmatrix_pipeline.coverage.state import CoverageReport

SOUND = CoverageReport(
    session=date(2021, 12, 31),
    tracked_count=20,
    expected=20,
    delisted=0,
    buckets={"<=24h": 20, "24-48h": 0, ">48h": 0, "none": 0},
    stale={"24-48h": [], ">48h": [], "none": []},
    indices={"DOW30": 20},
    snapshots=20,
    history=20,
    unusable=0,
    target=0.9,
)


def aged(report: CoverageReport, bucket: str, count: int) -> CoverageReport:
    buckets = {**report.buckets, "<=24h": report.buckets["<=24h"] - count, bucket: count}
    symbols = [f"S{n}" for n in range(count)]
    return replace(report, buckets=buckets, stale={**report.stale, bucket: symbols})


BROKEN = {
    "nothing is tracked yet": (replace(SOUND, tracked_count=0, expected=0), "refresh_constituents"),
    "17 of 20 instruments fresh (85.0%), 90% promised": (aged(SOUND, "24-48h", 3), "restore_daily_coverage"),
    "no members of NASDAQ100, SP500": (replace(SOUND, emptied=["NASDAQ100", "SP500"]), "refresh_constituents"),
    "2 over 48h: S0, S1": (aged(SOUND, ">48h", 2), "backfill_stale_daily"),
    "1 without any bar: S0": (aged(SOUND, "none", 1), "backfill_stale_daily"),
    "2 bars scored too low to be used": (replace(SOUND, unusable=2, snapshots=18, history=18), "backfill_stale_daily"),
    "3 fresh instruments lack a snapshot": (replace(SOUND, snapshots=17), "recompute_indicators"),
    "4 fresh instruments lack a history row": (replace(SOUND, history=16), "record_history"),
}


def test_what_is_sound_needs_no_job() -> None:
    assert diagnose(SOUND) == ((), None)
    assert diagnose(aged(SOUND, "24-48h", 2)) == ((), None), "a session late is within the promise"


@pytest.mark.parametrize("reason", BROKEN)
def test_each_broken_state_names_its_reason_and_the_job_to_press(reason: str) -> None:
    report, job = BROKEN[reason]
    assert diagnose(report) == ((reason,), job)


def test_of_several_the_gravest_names_the_job() -> None:
    broken = aged(aged(replace(SOUND, history=0, emptied=["DOW30"]), ">48h", 6), "none", 1)
    reasons, job = diagnose(broken)
    assert [reason.split(" ")[0] for reason in reasons] == ["13", "no", "6", "1", "13"]
    assert reasons[2] == "6 over 48h: S0, S1, S2, S3, S4, ..."
    assert job == "restore_daily_coverage"

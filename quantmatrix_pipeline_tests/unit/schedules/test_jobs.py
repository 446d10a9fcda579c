"""Entries that their jobs do not bear: every fault names its entry and field."""

from __future__ import annotations

import pytest

from quantmatrix_pipeline.schedules.jobs import Job, misfits
from quantmatrix_pipeline.schedules.reading import parse


def wrong_with(config: object) -> list[str]:
    return [] if config == {"ops": {}} else ["one thing", "another"]


JOBS = {
    "chain": Job.of({"dagster/max_runtime": "7200", "team": "data"}, True, wrong_with),
    "backup": Job.of({}, False, wrong_with),
}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("job: nope", ["a.job: there is no job 'nope'; there are backup, chain"]),
        ("job: chain", ["a.partition: chain is about sessions; write newest or missed"]),
        ("job: backup, partition: missed", ["a.partition: backup is about no session; leave missed away"]),
        ("job: backup, config: {ops: {x: 1}}", ["a.config: one thing", "a.config: another"]),
        (
            "job: chain, partition: newest, safety: {slow_after_s: 7200}",
            ["a.safety.slow_after_s: 7200 is never told: chain is ended at 7200 s; write a timeout_s"],
        ),
        ("job: chain, partition: newest, safety: {slow_after_s: 7199}", []),
        ("job: chain, partition: newest, safety: {slow_after_s: 9000, timeout_s: 9001}", []),
        ("job: backup, config: {ops: {}}, safety: {slow_after_s: 9000}", []),
    ],
)
def test_what_a_job_does_not_bear_is_a_line_with_entry_and_field(entry: str, said: list[str]) -> None:
    catalogue = parse(f"version: 1\nschedules:\n  a: {{{entry}, cron: 0 0 * * *}}", "ours.yaml")
    assert misfits(catalogue, JOBS) == said

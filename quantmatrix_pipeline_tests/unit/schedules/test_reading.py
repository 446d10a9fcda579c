"""A schedules file: every fault names its entry and field, and the packaged one has none."""

from __future__ import annotations

from datetime import datetime

import pytest
from pydantic import ValidationError

from quantmatrix_pipeline.errors import SchedulesInvalid
from quantmatrix_pipeline.schedules.entry import Entry, Maintenance
from quantmatrix_pipeline.schedules.file import PACKAGED
from quantmatrix_pipeline.schedules.reading import parse


def faults(entries: str) -> tuple[str, ...]:
    with pytest.raises(SchedulesInvalid) as refused:
        parse(f"version: 1\nschedules:\n{entries}", "ours.yaml")
    assert str(refused.value).startswith("ours.yaml: ")
    return refused.value.faults


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ("  a: {job: x, cron: 0 0 * * *, crom: y}", ["a.crom: there is no such field"]),
        (
            "  a: {job: x, cron: 0 0 * *}\n  b: {cron: 0 0 * * *}",
            ["a.cron: a cron schedule has", "b.job: it must be there"],
        ),
        ("  a: {job: x, cron: 0 0 * * *, timezone: Mars/Base}", ["a.timezone: 'Mars/Base' is no time zone"]),
        (
            "  a: {job: x, cron: 0 0 * * *, partition: all}",
            ["a.partition: 'all' is none of 'none', 'newest' or 'missed'"],
        ),
        ("  a: {job: x, cron: 0 0 * * *, tags: {qm/pool: b}}", ["a.tags: qm/pool: set by the entry's other fields"]),
        ("  a: {job: x, cron: 0 0 * * *, after: [{schedule: b}]}", ["a.after.0.schedule: there is no entry 'b'"]),
        ("  a: {job: x, cron: 0 0 * * *, safety: {retries: 99}}", ["a.safety.retries: 99 is more than 10"]),
        (
            "  a: {job: x, cron: 0 0 * * *, priority: much, catch_up: 1.5, enabled: perhaps, safety: {timeout_s: 0}}",
            [
                "a.enabled: 'perhaps' is neither true nor false",
                "a.catch_up: 1.5 is no whole number",
                "a.priority: 'much' is no whole number",
                "a.safety.timeout_s: 0 is less than 1",
            ],
        ),
        (
            "  a: {job: 7, cron: 0 0 * * *, tags: [], after: b, preflight: [luck]}\n  b: 3",
            [
                "a.job: 7 is no text",
                "a.tags: [] is no list of fields with their values",
                "a.after: 'b' is no list",
                "a.preflight.0: 'luck' is none of",
                "b: 3 is no list of fields with their values",
            ],
        ),
        (
            "  a: {job: x, cron: 0 0 * * *, safety: {slow_after_s: 60, timeout_s: 60}}",
            ["a.safety: slow_after_s 60 is never told"],
        ),
        (
            "  a: {job: x, cron: 0 0 * * *, hooks: {alert_on: [never]}}",
            ["a.hooks.alert_on.0: 'never' is none of 'failure'"],
        ),
        (
            "  a: {job: x, cron: 0 0 * * *, hooks: {channels: [slack, sistem_status]}}",
            ["a.hooks.channels.1: 'sistem_status' is no alias of a channel; known are system_status, signals"],
        ),
        (
            "  a: {job: x, cron: 0 0 * * *, hooks: {channels: [slack], alert_on: []}}",
            ["a.hooks: slack would hear of nothing: alert_on is empty"],
        ),
        (
            "  a: {job: x, cron: 0 0 * * *, safety: {max_concurrency: 2}}",
            ["a.safety: max_concurrency 2 counts only with single_flight: false"],
        ),
        (
            "  a: {job: x, cron: 0 0 * * *, partition: newest, catch_up: 5}",
            ["a: catch_up 5 counts only where partition is missed"],
        ),
        (
            "  a: {job: x, cron: 0 0 * * *, maintenance: [{start: 22:30, end: '23:30'}]}",
            ["a.maintenance.0.start: a time of day is written in quotation marks"],
        ),
        ("  a: {job: x, cron: 0 0 * * *, maintenance: [{start: '22:30'}]}", ["a.maintenance.0: a window has either"]),
        ("  a: {job: x, cron: 0 0 * * *}\n  a: {job: y, cron: 0 1 * * *}", ["line 4: a comes twice"]),
        ("  a: {job: x, cron: [}", ["line 3: "]),
        ("  9a: {job: x, cron: 0 0 * * *}", ["9a: '9a' is no name: a letter, then"]),
        (
            "  a: {job: x, cron: 0 0 * * *, after: [{schedule: b}]}\n"
            "  b: {job: x, cron: 0 0 * * *, after: [{schedule: a}]}",
            ["a.after: it would wait for itself", "b.after: it would wait for itself"],
        ),
    ],
)
def test_each_fault_is_a_line_with_entry_and_field(entries: str, said: list[str]) -> None:
    found = faults(entries)
    assert len(found) == len(said), found
    for line, expected in zip(found, said, strict=True):
        assert line.startswith(expected), line


@pytest.mark.parametrize(
    "channel",
    [
        "https://discord.com/api/webhooks/1/hidden",
        "slack+https://hidden",
        "mailto:hidden@example.com",
        "hidden@example",
    ],
)
def test_an_address_is_refused_without_showing_it_and_with_what_to_do_instead(channel: str) -> None:
    (fault,) = faults(f"  a: {{job: x, cron: 0 0 * * *, hooks: {{channels: ['{channel}']}}}}")
    assert fault.startswith("a.hooks.channels.0: an address lets whoever reads it post there")
    assert "QM_ALERT_WEBHOOK" in fault
    assert "hidden" not in fault


@pytest.mark.parametrize(
    "text", ["", "[]", "version: 1", "schedules: {}", "version: 2\nschedules: {}", "\x00", "a: !!python/object:x"]
)
def test_what_is_no_schedules_file_is_refused(text: str) -> None:
    with pytest.raises(SchedulesInvalid):
        parse(text, "ours.yaml")


def test_the_packaged_file_has_no_fault_and_runs_nothing_twice() -> None:
    catalogue = parse(PACKAGED.read_text(), "packaged")
    enabled = {entry.job for entry in catalogue.schedules.values() if entry.enabled}
    assert "restore_daily_coverage" in enabled
    steps = {"backfill_stale_daily", "recompute_indicators", "record_history"}
    assert not steps & enabled, "the chain does these"


def test_runs_bear_what_was_said_of_them() -> None:
    entry = Entry.model_validate(
        {
            "job": "x",
            "cron": "0 0 * * *",
            "pool": "night",
            "priority": 5,
            "tags": {"team": "data"},
            "safety": {"slow_after_s": 10, "timeout_s": 20, "retries": 2, "backoff_s": 30},
            "hooks": {"channels": ["Portfolio", "morning-brew"], "alert_on": ["success"], "pushgateway": False},
        }
    )
    assert entry.run_tags("nightly") == {
        "team": "data",
        "qm/schedule": "nightly",
        "qm/pool": "night",
        "dagster/priority": "5",
        "dagster/max_runtime": "20",
        "qm/timeout_s": "20",
        "qm/slow_after_s": "10",
        "qm/retries": "2",
        "qm/backoff_s": "30",
        "qm/channels": "portfolio,morning_brew",
        "qm/alert_on": "success",
        "qm/pushgateway": "false",
    }
    bare = Entry.model_validate({"job": "x", "cron": "0 0 * * *", "hooks": {"alert_on": []}}).run_tags("a")
    assert "dagster/max_runtime" not in bare
    assert bare["qm/alert_on"] == "nothing"


def window(**said: object) -> Maintenance:
    return Maintenance.model_validate(said)


def test_a_weekly_window_holds_from_its_start_to_its_end_also_past_midnight() -> None:
    night = window(days=["fri"], start="22:30", end="02:00")
    inside = ("2026-11-27T22:30", "2026-11-27T23:59", "2026-11-28T00:00", "2026-11-28T01:59")
    outside = ("2026-11-27T22:29", "2026-11-28T02:00", "2026-11-28T22:30", "2026-11-27T01:00")
    assert all(night.holds(datetime.fromisoformat(at)) for at in inside)
    assert not any(night.holds(datetime.fromisoformat(at)) for at in outside)
    noon = window(start="12:00", end="13:00")
    assert noon.holds(datetime.fromisoformat("2026-11-29T12:00"))
    assert not noon.holds(datetime.fromisoformat("2026-11-29T13:00"))


def test_a_window_that_comes_once() -> None:
    once = window(begin="2026-12-24T00:00", until="2026-12-27T00:00", reason="move")
    assert once.holds(datetime.fromisoformat("2026-12-26T23:59"))
    assert not once.holds(datetime.fromisoformat("2026-12-27T00:00"))
    with pytest.raises(ValidationError, match="until lies at or before begin"):
        window(begin="2026-12-24T00:00", until="2026-12-24T00:00")
    with pytest.raises(ValidationError, match="local times"):
        window(begin="2026-12-24T00:00Z", until="2026-12-25T00:00Z")

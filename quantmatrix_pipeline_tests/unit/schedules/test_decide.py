"""What a tick does, given what is known: each reason to skip, the sessions of a run, and what the preview foretells."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.schedules.decide import Exchange, Launch, Skip, decide
from quantmatrix_pipeline.schedules.entry import Catalogue, Preflight
from quantmatrix_pipeline.schedules.preview import conditions, preview
from quantmatrix_pipeline.schedules.reading import validated

EXCHANGE = Exchange(trading_calendar("XNYS"), timedelta(minutes=30))
NEW_YORK = ZoneInfo("America/New_York")


@dataclass
class Known:
    """Facts as a test says them; the source has whatever has closed."""

    done: date | None = None
    running: int = 0
    ended: dict[str, tuple[date | None, bool]] = field(default_factory=dict)
    lacks: dict[Preflight, str] = field(default_factory=dict)
    asked: list[Preflight] = field(default_factory=list)

    def newest_session(self, at: datetime) -> date:
        return EXCHANGE.calendar.newest_closed(at, EXCHANGE.grace)

    def newest_done(self, job: str) -> date | None:
        return self.done

    def under_way(self, *, job: str | None = None, schedule: str | None = None) -> int:
        return self.running

    def has_ended(self, job: str, since: datetime, session: date | None, *, well: bool) -> bool:
        of, was_well = self.ended.get(job, (None, False))
        return job in self.ended and (session is None or of == session) and (was_well or not well)

    def missing(self, check: Preflight, at: datetime) -> str | None:
        self.asked.append(check)
        return self.lacks.get(check)


def catalogue(**fields: object) -> Catalogue:
    nightly = {"job": "chain", "cron": "30 17 * * 1-5", "partition": "missed", **fields}
    weekly = {"job": "members", "cron": "0 6 * * 6"}
    return validated({"version": 1, "schedules": {"nightly": nightly, "weekly": weekly}}, "test")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def tick(text: str, known: Known, now: str | None = None, **fields: object) -> Launch | Skip:
    return decide(catalogue(**fields), "nightly", at(text), at(now or text), EXCHANGE, known)


def reason(text: str, known: Known, now: str | None = None, **fields: object) -> str:
    found = tick(text, known, now, **fields)
    assert isinstance(found, Skip), found
    return found.reason


def test_a_night_does_its_session_and_nights_that_were_missed_are_one_range() -> None:
    assert tick("2021-12-30T17:30", Known(date(2021, 12, 29))) == Launch(date(2021, 12, 30), date(2021, 12, 30))
    assert tick("2021-12-30T17:30", Known(date(2021, 12, 22))) == Launch(date(2021, 12, 23), date(2021, 12, 30))
    assert tick("2021-12-30T17:30", Known(None)) == Launch(date(2021, 12, 30), date(2021, 12, 30))
    few = tick("2021-12-30T17:30", Known(date(2020, 1, 2)), catch_up=3)
    assert few == Launch(date(2021, 12, 28), date(2021, 12, 30)), "no more than may be caught up"


def test_a_holiday_is_named() -> None:
    said = reason("2021-12-24T17:30", Known(date(2021, 12, 23)))
    assert said.startswith("no session closed since 2021-12-23, whose run was started before (2021-12-24 is no session")
    assert "Christmas" in said


def test_ticks_that_passed_while_nothing_ran_leave_it_to_the_last_of_them() -> None:
    known = Known(date(2021, 12, 27))
    monday = "2022-01-03T09:00"
    for passed in ("2021-12-28T17:30", "2021-12-29T17:30", "2021-12-30T17:30"):
        assert reason(passed, known, monday).startswith("missed while nothing ran; the tick of 20")
    assert tick("2021-12-31T17:30", known, monday) == Launch(date(2021, 12, 28), date(2021, 12, 31))


def test_a_maintenance_window_of_the_entrys_own_zone() -> None:
    windows = [{"start": "17:00", "end": "18:00", "reason": "router moves"}]
    said = reason("2021-12-30T17:30", Known(), maintenance=windows)
    assert said == "maintenance window until 18:00 EST (router moves)"
    assert isinstance(tick("2021-12-30T17:30", Known(), timezone="UTC", maintenance=windows), Launch)


def test_single_flight_and_limits() -> None:
    assert reason("2021-12-30T17:30", Known(running=1)) == "already running: a run of chain is under way"
    both = {"single_flight": False, "max_concurrency": 2}
    assert isinstance(tick("2021-12-30T17:30", Known(running=1), safety=both), Launch)
    assert "2 runs of nightly are under way, 2 may be" in reason("2021-12-30T17:30", Known(running=2), safety=both)


def test_what_comes_first_must_have_ended_for_the_session() -> None:
    both = validated(
        {
            "version": 1,
            "schedules": {
                "nightly": {"job": "chain", "cron": "30 17 * * 1-5", "partition": "missed"},
                "later": {
                    "job": "report",
                    "cron": "0 * * * *",
                    "partition": "newest",
                    "after": [{"schedule": "nightly", "patience_s": 7200}],
                },
                "anyhow": {
                    "job": "report",
                    "cron": "0 * * * *",
                    "partition": "newest",
                    "after": [{"schedule": "nightly", "state": "ended"}],
                },
            },
        },
        "test",
    )
    session = date(2021, 12, 30)

    def hourly(name: str, hour: int, known: Known) -> Launch | Skip:
        instant = at(f"2021-12-30T{hour}:00")
        return decide(both, name, instant, instant, EXCHANGE, known)

    waits = hourly("later", 17, Known())
    assert waits == Skip("2021-12-30 has closed, and nightly (chain) has not succeeded for it yet")
    assert hourly("later", 17, Known(ended={"chain": (session, True)})) == Launch(session, session)
    assert isinstance(hourly("later", 17, Known(ended={"chain": (date(2021, 12, 29), True)})), Skip)
    assert isinstance(hourly("later", 17, Known(ended={"chain": (session, False)})), Skip)
    assert hourly("anyhow", 17, Known(ended={"chain": (session, False)})) == Launch(session, session)
    assert hourly("later", 19, Known()) == Launch(session, session), "it is not waited for for ever"
    assert isinstance(hourly("anyhow", 23, Known()), Skip)


def test_a_preflight_check_that_fails_is_named_and_asked_last() -> None:
    checks = ["database", "vendor_budget"]
    known = Known(lacks={Preflight.VENDOR_BUDGET: "fmp 0 of 250"})
    assert reason("2021-12-30T17:30", known, preflight=checks) == "preflight vendor_budget: fmp 0 of 250"
    assert known.asked == [Preflight.DATABASE, Preflight.VENDOR_BUDGET]
    holiday = Known(date(2021, 12, 23))
    reason("2021-12-24T17:30", holiday, preflight=checks)
    assert holiday.asked == [], "what costs something is not asked for nothing"


def test_the_preview_is_the_next_ten_ticks_through_holidays_and_changed_clocks() -> None:
    entry = catalogue().schedules["nightly"]
    coming = preview(entry, EXCHANGE, datetime(2021, 11, 2, 12, tzinfo=UTC))
    assert [f"{c.local:%m-%d %H:%M %Z}|{c.utc:%H:%M}" for c in coming[:5]] == [
        "11-02 17:30 EDT|21:30",
        "11-03 17:30 EDT|21:30",
        "11-04 17:30 EDT|21:30",
        "11-05 17:30 EDT|21:30",
        "11-08 17:30 EST|22:30",
    ]
    assert len(coming) == 10
    thanksgiving = preview(entry, EXCHANGE, at("2021-11-24T17:30"), count=3)
    assert [c.sessions for c in thanksgiving] == [None, "2021-11-26", "2021-11-29"]
    assert "2021-11-25 is no session" in str(thanksgiving[0].skipped)
    assert thanksgiving[1].skipped is None


def test_what_a_window_keeps_from_running_the_next_tick_makes_up_for() -> None:
    window = {"begin": "2021-11-29T00:00", "until": "2021-12-01T00:00", "reason": "move"}
    entry = catalogue(maintenance=[window]).schedules["nightly"]
    coming = preview(entry, EXCHANGE, at("2021-11-26T18:00"), count=3)
    assert [c.skipped for c in coming] == ["maintenance window until 2021-12-01 00:00 EST (move)"] * 2 + [None]
    assert coming[2].sessions == "2021-11-29..2021-12-01"
    behind = preview(entry, EXCHANGE, at("2021-12-01T12:00"), done=date(2021, 11, 24), count=1)
    assert behind[0].sessions == "2021-11-26..2021-12-01"


def test_what_can_not_be_foretold_is_a_condition() -> None:
    entry = catalogue(
        enabled=False,
        preflight=["disk"],
        after=[{"schedule": "weekly", "patience_s": 60}],
        safety={"single_flight": False},
    ).schedules["nightly"]
    assert conditions(entry) == [
        "disabled: it ticks only when somebody resumes it, or sets enabled: true",
        "fewer than 1 of its runs are under way",
        "weekly has succeeded for the session, or is 60 s late",
        "preflight disk passes",
    ]

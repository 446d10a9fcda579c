"""What alerts are made of: runs that ended or take long, their checks, and what their tags wish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FAILURE, SLOW, SUCCESS = "failure", "slow", "success"


@dataclass(frozen=True, slots=True)
class FailedCheck:
    """An asset check that did not pass.

    Attributes
    ----------
    name
        `asset.check`.
    severity
        WARN or ERROR.
    found
        What it found, on one line.
    symbols
        The symbols that it named, not all of them where there are many.
    """

    name: str
    severity: str
    found: str
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the tags of a run say about its alerts.

    Attributes
    ----------
    on
        Events that are told: failure, slow, success.
    channels
        Where to, instead of where its assets' owners or the settings say; empty: as those say.
    muted
        Whether nothing is told.
    slow_after_s
        From which duration on it counts as slow; None: it never does.
    pushed
        Whether its duration goes to the Pushgateway, where one is set.
    """

    on: frozenset[str] = frozenset({FAILURE, SLOW})
    channels: tuple[str, ...] = ()
    muted: bool = False
    slow_after_s: float | None = None
    pushed: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """A run, ended or under way.

    Attributes
    ----------
    outcome
        success, failure, canceled, or running.
    what
        Its session or sessions, such as `session 2021-12-31`; `no session`.
    seconds
        From its start to its end, or to now.
    cause
        Of a failure, on one line.
    error
        The class of the error behind it, where it is one of ours.
    stopped_by_check
        Whether a blocking check ended it: then the check is the cause.
    timed_out
        Whether Dagster ended it, since it took longer than it may.
    counters
        Name -> count, of what its steps did.
    symbols
        The symbols that it was about, where it names them.
    stale, expected
        Of how many instruments the newest bar is older than its session, and how many should have that session's; None:
        it has no session.
    failed, passed
        Its checks: those that did not pass, and the names of those that did.
    owners
        Of the assets that failed, or of all of its assets.
    """

    run_id: str
    job: str
    outcome: str
    what: str
    seconds: float
    pool: str = "default"
    cause: str | None = None
    error: str | None = None
    stopped_by_check: bool = False
    timed_out: bool = False
    counters: Mapping[str, int | float] = field(default_factory=dict)
    symbols: tuple[str, ...] = ()
    stale: int | None = None
    expected: int | None = None
    failed: tuple[FailedCheck, ...] = ()
    passed: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    wishes: Wishes = field(default_factory=Wishes)

    @property
    def subject(self) -> str:
        """What is broken when it fails: its job, of the symbols that it names."""
        return f"job:{self.job}" + (f"[{','.join(self.symbols)}]" if self.symbols else "")

    @property
    def is_slow(self) -> bool:
        """Whether it takes, or took, longer than it is expected to."""
        return self.wishes.slow_after_s is not None and self.seconds > self.wishes.slow_after_s

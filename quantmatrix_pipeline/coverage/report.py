"""How fresh the tracked set is as of a session: ages, buckets, what is wrong and which job mends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np

from quantmatrix_pipeline.bars.batch import Dates, Ints
from quantmatrix_pipeline.bars.presence import excepted_mask
from quantmatrix_pipeline.bars.rules import USABLE_QUALITY
from quantmatrix_pipeline.bars.sessions import NO_BAR, TradingCalendar
from quantmatrix_pipeline.warehouse import bars as bar_tables
from quantmatrix_pipeline.warehouse import coverage as coverage_tables
from quantmatrix_pipeline.warehouse import gaps, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse

FRESH, YESTERDAY, STALE, NONE = BUCKETS = ("<=24h", "24-48h", ">48h", "none")
SHOWN_STALE = 50


@dataclass(frozen=True, slots=True)
class CoverageReport:
    """The state of the tracked set as of `session`.

    `expected` counts the tracked instruments that should have a bar: not those delisted by then. `buckets` counts
    them by the age of their newest bar in sessions (0, 1, 2 or more, no bar; sessions accepted as missing do not
    count); `stale` names the symbols of each bucket but the first, whole. `snapshots` and `history` count the
    expected instruments that have such a row; `unusable` those whose bar of the session scored too low to be
    computed with.
    """

    session: date
    tracked_count: int
    expected: int
    delisted: int
    buckets: Mapping[str, int]
    stale: Mapping[str, Sequence[str]]
    indices: Mapping[str, int]
    snapshots: int
    history: int
    unusable: int
    target: float
    reasons: Sequence[str] = field(default_factory=tuple)
    job: str | None = None

    @property
    def fresh(self) -> int:
        """Instruments whose newest bar is the session's."""
        return self.buckets[FRESH]

    @property
    def share(self) -> float:
        """Fresh instruments over expected ones, 0..1; 1 when nothing is expected, as when all of them are delisted."""
        return self.fresh / self.expected if self.expected else 1.0

    @property
    def status(self) -> str:
        return "degraded" if self.reasons else "ok"

    def headline(self) -> str:
        """The one line that an operator reads first: session, ok or degraded, why, the job to press."""
        if not self.reasons:
            return f"{self.session} ok: {self.fresh} of {self.expected} instruments fresh ({self.share:.1%})"
        return f"{self.session} degraded: {'; '.join(self.reasons)} -> press {self.job}"

    def as_json(self) -> dict[str, Any]:
        body = asdict(self) | {
            "session": self.session.isoformat(),
            "status": self.status,
            "share": round(self.share, 6),
        }
        body["stale"] = {bucket: list(symbols)[:SHOWN_STALE] for bucket, symbols in self.stale.items()}
        body["headline"] = self.headline()
        return body


def bucket_of(age: int | None) -> str:
    """Name the freshness bucket of an age in sessions; None stands for no bar at all."""
    if age is None:
        return NONE
    return FRESH if age <= 0 else YESTERDAY if age == 1 else STALE


def coverage_as_of(warehouse: Warehouse, calendar: TradingCalendar, session: date, *, target: float) -> CoverageReport:
    """Work out the coverage of the tracked set as of a session, from bars of sessions up to it."""
    tracked = universe.tracked(warehouse)
    expected = [t for t in tracked if t.delisted_on is None or t.delisted_on > session]
    newest = bar_tables.last_sessions(warehouse, [t.instrument_id for t in expected], session)
    last_bar = np.array([newest.get(t.instrument_id, "NaT") for t in expected], dtype="datetime64[D]")
    stale: dict[str, list[str]] = {bucket: [] for bucket in BUCKETS}
    ages = calendar.age(last_bar, session)
    ages[ages > 0] -= _excused(warehouse, calendar, [t.instrument_id for t in expected], last_bar, session)[ages > 0]
    for t, age in zip(expected, ages.tolist(), strict=True):
        stale[bucket_of(None if age == NO_BAR else age)].append(t.symbol)
    filled = coverage_tables.filled(
        warehouse, session, [t.instrument_id for t in expected], usable_quality=USABLE_QUALITY
    )
    report = CoverageReport(
        session=session,
        tracked_count=len(tracked),
        expected=len(expected),
        delisted=len(tracked) - len(expected),
        buckets={bucket: len(symbols) for bucket, symbols in stale.items()},
        stale={bucket: symbols for bucket, symbols in stale.items() if bucket != FRESH},
        indices=universe.index_counts(warehouse),
        snapshots=filled.snapshots,
        history=filled.history,
        unusable=filled.unusable,
        target=target,
    )
    reasons, job = _diagnose(report)
    return CoverageReport(**{**_fields(report), "reasons": reasons, "job": job})


def _excused(
    warehouse: Warehouse, calendar: TradingCalendar, ids: Sequence[int], last_bar: Dates, session: date
) -> Ints:
    """Return how many sessions behind each last bar, up to `session`, were accepted as missing: they age nobody."""
    accepted = [(e.instrument_id, e.first, e.last) for e in gaps.exceptions(warehouse, calendar.name)]
    if not accepted or np.isnat(last_bar).all():
        return np.zeros(len(ids), np.int32)
    earliest: date = last_bar[~np.isnat(last_bar)].min().item()
    window = calendar.sessions_in(earliest, session)
    behind = window > last_bar[:, None]
    return np.asarray((excepted_mask(window, ids, accepted) & behind).sum(axis=1), np.int32)


def _fields(report: CoverageReport) -> dict[str, Any]:
    return {name: getattr(report, name) for name in report.__dataclass_fields__}


def _diagnose(report: CoverageReport) -> tuple[tuple[str, ...], str | None]:
    """Say what is wrong, gravest first, and the job that mends the gravest."""
    found: list[tuple[str, str]] = []
    if report.tracked_count == 0:
        return ("nothing is tracked yet",), "refresh_constituents"
    if report.share < report.target:
        found.append(
            (
                f"{report.fresh} of {report.expected} instruments fresh ({report.share:.1%}),"
                f" {report.target:.0%} promised",
                "restore_daily_coverage",
            )
        )
    if report.buckets[STALE]:
        found.append((f"{report.buckets[STALE]} over 48h: {_few(report.stale[STALE])}", "backfill_stale_daily"))
    if report.buckets[NONE]:
        found.append((f"{report.buckets[NONE]} without any bar: {_few(report.stale[NONE])}", "backfill_stale_daily"))
    if report.unusable:
        # No job mends a bad price; a better bar from the source does.
        found.append((f"{report.unusable} bars scored too low to be used", "backfill_stale_daily"))
    due = report.fresh - report.unusable
    if report.snapshots < due:
        found.append((f"{due - report.snapshots} fresh instruments lack a snapshot", "recompute_indicators"))
    if report.history < due:
        found.append((f"{due - report.history} fresh instruments lack a history row", "record_history"))
    return tuple(reason for reason, _ in found), found[0][1] if found else None


def _few(symbols: Sequence[str]) -> str:
    return ", ".join(symbols[:5]) + (", ..." if len(symbols) > 5 else "")


def stale_symbols(report: CoverageReport) -> list[str]:
    """Return every symbol that a stale-only backfill must ask for: all but the fresh, sorted."""
    return sorted(symbol for symbols in report.stale.values() for symbol in symbols)


def save(warehouse: Warehouse, report: CoverageReport, now: datetime) -> None:
    """Keep the report as the coverage of its session."""
    coverage_tables.save(
        warehouse,
        session=report.session,
        status=report.status,
        tracked_count=report.tracked_count,
        expected=report.expected,
        fresh=report.fresh,
        report=report.as_json(),
        now=now,
    )

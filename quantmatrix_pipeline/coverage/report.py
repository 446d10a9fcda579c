"""Work out how fresh the tracked set is as of a session, and keep it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime

import numpy as np

from quantmatrix_pipeline.bars.batch import Dates, Ints
from quantmatrix_pipeline.bars.presence import excepted_mask
from quantmatrix_pipeline.bars.rules import USABLE_QUALITY
from quantmatrix_pipeline.bars.sessions import NO_BAR, TradingCalendar
from quantmatrix_pipeline.coverage.diagnosis import diagnose
from quantmatrix_pipeline.coverage.state import BUCKETS, FRESH, CoverageReport, bucket_of, count_buckets
from quantmatrix_pipeline.warehouse import bars as bar_tables
from quantmatrix_pipeline.warehouse import coverage as coverage_tables
from quantmatrix_pipeline.warehouse import gaps, tiers, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse


def coverage_as_of(warehouse: Warehouse, calendar: TradingCalendar, session: date, *, target: float) -> CoverageReport:
    """Work out the coverage of the tracked set as of a session, from bars of sessions up to it."""
    tracked = universe.tracked(warehouse)
    expected = [t for t in tracked if t.delisted_on is None or t.delisted_on > session]
    ids = [t.instrument_id for t in expected]
    bucket = _buckets(warehouse, calendar, ids, session)
    stale: dict[str, list[str]] = {name: [] for name in BUCKETS if name != FRESH}
    for t, name in zip(expected, bucket, strict=True):
        if name != FRESH:
            stale[name].append(t.symbol)
    filled = coverage_tables.filled(warehouse, session, ids, usable_quality=USABLE_QUALITY)
    buckets = dict(zip(ids, bucket, strict=True))
    indices = universe.index_counts(warehouse)
    report = CoverageReport(
        session=session,
        tracked_count=len(tracked),
        expected=len(expected),
        delisted=len(tracked) - len(expected),
        buckets=count_buckets(bucket),
        stale=stale,
        indices=indices,
        snapshots=filled.snapshots,
        history=filled.history,
        unusable=filled.unusable,
        target=target,
        by_index=_grouped(buckets, universe.member_ids(warehouse)),
        by_tier=_grouped(buckets, {i: [tier] for i, tier in tiers.of_tracked(warehouse).items()}),
        emptied=sorted(universe.indexes_ever(warehouse) - set(indices)),
    )
    reasons, job = diagnose(report)
    return replace(report, reasons=reasons, job=job)


def stale_as_of(warehouse: Warehouse, calendar: TradingCalendar, session: date) -> tuple[int, list[str]]:
    """Return how many instruments are expected, and every symbol that a stale-only backfill must ask for, sorted.

    The same as `stale_symbols(coverage_as_of(...))`, but only those without the session's bar are looked at: most often
    there are none, and a sensor asks each minute.
    """
    expected, lacking = coverage_tables.lacking(warehouse, session)
    bucket = _buckets(warehouse, calendar, list(lacking), session)
    return expected, sorted(symbol for symbol, name in zip(lacking.values(), bucket, strict=True) if name != FRESH)


def _buckets(warehouse: Warehouse, calendar: TradingCalendar, ids: Sequence[int], session: date) -> list[str]:
    """Return the bucket of each instrument's newest bar."""
    newest = bar_tables.last_sessions(warehouse, ids, session)
    last_bar = np.array([newest.get(i, "NaT") for i in ids], dtype="datetime64[D]")
    ages = calendar.age(last_bar, session)
    ages[ages > 0] -= _excused(warehouse, calendar, ids, last_bar, session)[ages > 0]
    return [bucket_of(None if age == NO_BAR else age) for age in ages.tolist()]


def _grouped(buckets: Mapping[int, str], groups: Mapping[int, Iterable[str]]) -> dict[str, dict[str, int]]:
    """Return group -> bucket -> instruments; `groups` has those of each instrument."""
    members: dict[str, list[str]] = {}
    for instrument_id, names in groups.items():
        for name in names if instrument_id in buckets else ():
            members.setdefault(name, []).append(buckets[instrument_id])
    return {name: count_buckets(members[name]) for name in sorted(members)}


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

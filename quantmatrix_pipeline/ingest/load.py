"""Store the parts of a source's answer: prove each part's bars sound beside what is stored, then write all of it at
once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from types import TracebackType

import numpy as np
import pyarrow as pa

from quantmatrix_pipeline.bars import rules
from quantmatrix_pipeline.bars.adjustment import SplitTable
from quantmatrix_pipeline.bars.batch import FIELDS, BarBatch, Basis, Bools, Dates, Ints
from quantmatrix_pipeline.bars.repair.catalogue import MIN_CONFIDENCE
from quantmatrix_pipeline.bars.repair.stretches import KnownSplits
from quantmatrix_pipeline.bars.schema import check_batch
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.bars.stored import Sources, split_table, stored_units
from quantmatrix_pipeline.bars.thresholds import DEFAULT_THRESHOLDS, Thresholds
from quantmatrix_pipeline.ingest.asked import Asked
from quantmatrix_pipeline.ingest.corrections import DEFAULT_TOLERANCE, Tolerance
from quantmatrix_pipeline.ingest.mend import Mended, Mender, TextRows
from quantmatrix_pipeline.ingest.refused import disputed_bars, refused_bars, unreadable_rows
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.ingest.rows import (
    Fetched,
    Rows,
    Surroundings,
    first_rows,
    flags_changed,
    stored_now,
    table_of,
)
from quantmatrix_pipeline.ingest.splits import Believed
from quantmatrix_pipeline.ingest.tails import Tails
from quantmatrix_pipeline.providers.answers import DailyAnswer, Kind
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.warehouse import actions, counters, fetches, repairs
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.history import mark_due
from quantmatrix_pipeline.warehouse.kept_writer import KeptWriter
from quantmatrix_pipeline.warehouse.universe import Tracked

SMALLEST_SPLIT = np.log(1.2)  # a 5-for-4 split moves the price by more; smaller ones are lost among other moves
_END = np.datetime64("9999-12-31", "D")


class _Splits:
    """The splits in force, and which instruments ever split."""

    def __init__(self, stored: pa.Table) -> None:
        self.table: SplitTable = split_table(stored)
        owner = stored["instrument_id"].to_numpy()
        self.instrument_id: Ints = np.unique(owner)
        ratio = stored["numerator"].to_numpy().astype(np.float64) / stored["denominator"].to_numpy().astype(np.float64)
        self._each = KnownSplits(owner, stored["ex_date"].to_numpy().astype("datetime64[D]"), ratio)

    def among(self, ids: Ints) -> KnownSplits:
        """Return the splits of some instruments, sorted; an index is a place among `ids`."""
        own = np.isin(self._each.instrument_index, ids)
        place = np.searchsorted(ids, self._each.instrument_index[own]).astype(np.int32)
        return KnownSplits(place, self._each.ex_date[own], self._each.ratio[own])


class DailyStore:
    """Stores the parts of one fetch, each in a transaction of its own; used as a context manager.

    It remembers from part to part what would cost a part of eight thousand instruments more than its own bars: the
    connection, what was asked for, the splits, the last bars of each instrument. Nobody else may write daily bars
    meanwhile: the caller holds the exclusive lock `bars_1d`.

    Parameters
    ----------
    instruments, requests
        By symbol: what is tracked, and what was asked for.
    report
        What was done is added to it.
    now
        When these bars are learned; stands as `as_of` beside each of them.
    tolerance
        Up to which difference a bar that is stored already is the same.
    repair_at
        The confidence from which a fault is repaired, `mend.OFF` for none.
    reason
        Why a stored bar that is corrected is.
    thresholds
        From where on bars are flagged.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        calendar: TradingCalendar,
        instruments: Mapping[str, Tracked],
        requests: Mapping[str, BarRequest],
        report: IngestReport,
        now: datetime,
        tolerance: Tolerance = DEFAULT_TOLERANCE,
        repair_at: float = MIN_CONFIDENCE,
        reason: str = "corrected",
        thresholds: Thresholds = DEFAULT_THRESHOLDS,
    ) -> None:
        self._warehouse = warehouse
        self._calendar = calendar
        self._tolerance = tolerance
        self._instruments = instruments
        self._report = report
        self._now = now
        self._symbols = {t.instrument_id: symbol for symbol, t in instruments.items()}
        self._indices = np.array([t.instrument_id for t in instruments.values() if t.kind == Kind.INDEX], np.int32)
        self._asked = Asked(calendar, instruments, requests)
        # (vendor, asked from) -> of each symbol asked for: since when it was, and the first bar that the cursors know.
        self._begun: dict[tuple[str, date | None], tuple[Dates, Dates]] = {}
        self._sources: Sources = {}
        self._source_ids: dict[tuple[str, str, date | None], int] = {}
        self._splits: _Splits | None = None
        self._tails = Tails()
        self._mender = Mender(repair_at, repairs.decided(warehouse), now)
        self._reason = reason
        self._thresholds = thresholds
        self._writer = KeptWriter(warehouse)

    def __enter__(self) -> DailyStore:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    def store(self, answer: DailyAnswer) -> None:
        """Validate and write one part of an answer in one transaction, and add what was done to the report.

        Sound bars are stored, refused ones logged with their reasons and payload, actions appended, cursors moved: all
        of it or, when anything fails, nothing.
        """
        check_batch(answer.bars, vendor=answer.vendor)
        text = TextRows(answer)
        bars, place = self._asked.only_asked(text.beside(answer.bars), answer.asked_from)
        source = self._source_id(answer)
        try:
            self._write(answer, text, bars, place, source)
        except BaseException:
            self._tails.empty()
            self._splits = None
            raise

    def _write(self, answer: DailyAnswer, text: TextRows, bars: BarBatch, place: Ints, source: int) -> None:
        vendor = (answer.vendor, answer.asked_from)
        if vendor not in self._begun:
            self._begun[vendor] = self._asked.since(answer.asked_from), np.full(len(self._asked.instrument_id), _END)
        since, known = self._begun[vendor]
        first_bar = known.copy()
        np.minimum.at(first_bar, place, bars.session)
        with self._writer.transaction() as transaction:
            transaction.lock("bars_1d")
            started = time.perf_counter()
            now = tables.learned_at(transaction, "bars", self._now)
            learned = actions.write_actions(transaction, _actions(answer, self._instruments, now))
            if learned or self._splits is None:
                self._splits = _Splits(actions.read_splits(transaction))
            around = Surroundings(
                transaction,
                self._calendar,
                self._tails,
                splits=self._splits.table,
                sources=self._sources,
                tolerance=self._tolerance,
            )
            rows = around.merge(Fetched.of(bars, self._asked.instrument_id[place], source), learned)
            mended = self._mend(rows, self._splits, text)
            rows = replace(rows, values={name: getattr(mended.bars, name) for name in FIELDS})
            believed = Believed.read(transaction).among(rows.instrument_id, rows.session)
            verdict = rules.validate(replace(mended.bars, believed=believed), self._calendar, self._thresholds)
            sound = rows.fetched & ~verdict.rejected
            bars_now = table_of(rows, verdict, sound)
            counts = tables.write_daily(transaction, bars_now, now, reason=self._reason, stored=rows.stored)
            put_right = mended.repaired & ~rows.fetched & ~verdict.rejected
            tables.write_daily(transaction, table_of(rows, verdict, put_right), now, reason="repaired")
            repairs.write_repairs(transaction, mended.log)
            written = np.zeros_like(sound)
            written[sound] = counts.written
            changed = flags_changed(rows, verdict) & ~put_right
            if changed.any():
                rescored = table_of(rows, verdict, changed)
                tables.write_daily(transaction, rescored, now, reason="rescored", stored=rows.stored)
            log = self._refused(text.unread(answer, mended), rows, verdict, mended, now)
            fetches.write_log(transaction, log + disputed_bars(answer.vendor, rows.disputed, self._symbols, now))
            mark_due(transaction, _changed_since(rows, written | changed | put_right, learned))
            moved = np.flatnonzero((first_bar < known) & ~np.isnat(since))
            columns = (self._asked.instrument_id, since, first_bar)
            begun = zip(*(column[moved].tolist() for column in columns), strict=True)
            fetches.move_cursors(transaction, answer.vendor, list(begun), now)
            took = 1000 * (time.perf_counter() - started)
            counters.note_batch(transaction, "bars_1d", answer.vendor, counts.inserted + counts.revised, took)
        self._begun[vendor] = since, first_bar
        self._tails.keep(stored_now(rows, sound), rows.concerned, np.unique(rows.stored["instrument_id"]))
        _count(self._report, answer, rows, verdict, counts, len(log), int(changed.sum()), mended)
        for jumped, days in _jumps(rows, written & verdict.gap_detected).items():
            symbol = self._symbols[jumped]
            first, last = self._report.jumps.get(symbol, days)
            self._report.jumps[symbol] = min(first, days[0]), max(last, days[1])

    def _refused(
        self, answer: DailyAnswer, rows: Rows, verdict: rules.Verdict, mended: Mended, now: datetime
    ) -> list[dict[str, object]]:
        log = refused_bars(
            answer.vendor,
            rows.instrument_id,
            rows.session,
            rows.values,
            verdict.reasons,
            np.flatnonzero(rows.fetched & verdict.rejected & ~mended.text),
            self._symbols,
            now,
        )
        return log + unreadable_rows(answer, self._instruments, now)

    def _source_id(self, answer: DailyAnswer) -> int:
        source = (answer.vendor, answer.basis.value, answer.basis_date)
        if source not in self._source_ids:
            self._source_ids[source] = tables.source_id(self._warehouse, *source)
            self._sources = tables.sources(self._warehouse)
        return self._source_ids[source]

    def _mend(self, rows: Rows, splits: _Splits, text: TextRows) -> Mended:
        """Return the rows as validation takes them, with what is wrong and can be repaired put right."""
        first_of = first_rows(rows.instrument_id)  # the rows are sorted: one run per instrument
        index = (np.cumsum(first_of) - 1).astype(np.int32)
        ids = rows.instrument_id[first_of]
        # Few instruments ever split; for the others every unit is 1.
        split = np.flatnonzero(np.isin(ids, splits.instrument_id)[index])
        unit = np.ones(len(index))
        unit[split] = stored_units(
            splits.table, rows.instrument_id[split], rows.session[split], rows.source_id[split], self._sources
        )
        bars = rules.BarRows(
            instrument_index=index,
            session=rows.session,
            **{name: rows.values[name] for name in FIELDS},  # type: ignore[arg-type]  # arrays all of them
            unit=unit,
            is_new=rows.judged,
            without_volume=np.isin(ids, self._indices),
        )
        raw = [number for number, (_, basis, _) in self._sources.items() if basis == Basis.RAW]
        adjusted = ~np.isin(rows.source_id, raw)
        return self._mender.mend(bars, rows, text.among(rows, self._instruments), splits.among(ids), adjusted)


def store_answer(
    warehouse: Warehouse,
    calendar: TradingCalendar,
    instruments: Mapping[str, Tracked],
    requests: Mapping[str, BarRequest],
    answer: DailyAnswer,
    report: IngestReport,
    now: datetime,
    tolerance: Tolerance = DEFAULT_TOLERANCE,
    repair_at: float = MIN_CONFIDENCE,
    reason: str = "corrected",
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> None:
    """Store one part by itself; see `DailyStore`."""
    asked = {symbol: requests[symbol] for symbol in answer.bars.symbols if symbol in requests}
    store = DailyStore(warehouse, calendar, instruments, asked, report, now, tolerance, repair_at, reason, thresholds)
    with store as parts:
        parts.store(answer)


def _actions(answer: DailyAnswer, instruments: Mapping[str, Tracked], now: datetime) -> list[dict[str, object]]:
    common = {"vendor": answer.vendor, "as_of": now}
    found: list[dict[str, object]] = [
        {
            **common,
            "instrument_id": instruments[s.symbol].instrument_id,
            "kind": "stock_dividend" if s.stock_dividend else "split",
            "ex_date": s.ex_date,
            "numerator": s.ratio.numerator,
            "denominator": s.ratio.denominator,
        }
        for s in answer.splits
        if s.symbol in instruments
    ]
    found += [
        {
            **common,
            "instrument_id": instruments[d.symbol].instrument_id,
            "kind": "cash_dividend",
            "ex_date": d.ex_date,
            "amount": repr(d.amount),
            "currency": d.currency,
        }
        for d in answer.dividends
        if d.symbol in instruments
    ]
    return found


def _changed_since(rows: Rows, written: Bools, learned: Mapping[int, date]) -> dict[int, date]:
    """Return instrument_id -> the first session whose numbers follow from bars or splits that are new."""
    at = np.flatnonzero(written)
    ids, days = rows.instrument_id[at], rows.session[at]
    heads = first_rows(ids)
    since: dict[int, date] = dict(zip(ids[heads].tolist(), days[heads].tolist(), strict=True))
    for instrument_id, ex_date in learned.items():
        since[instrument_id] = min(ex_date, since.get(instrument_id, ex_date))
    return since


def _jumps(rows: Rows, gaps: Bools) -> dict[int, tuple[date, date]]:
    """Return instrument_id -> first and last session of the bars among `gaps` that opened as far off as a split makes
    them.
    """
    at = np.flatnonzero(gaps)
    at = at[(at > 0) & (rows.instrument_id[at] == rows.instrument_id[at - 1])]
    moved = np.abs(np.log(rows.values["open"][at] / rows.values["close"][at - 1]))
    found: dict[int, tuple[date, date]] = {}
    for row in at[moved >= SMALLEST_SPLIT]:
        day = rows.session[row].item()
        known = int(rows.instrument_id[row])
        found[known] = found.get(known, (day, day))[0], day
    return found


def _count(
    report: IngestReport,
    answer: DailyAnswer,
    rows: Rows,
    verdict: rules.Verdict,
    counts: tables.WriteCounts,
    logged: int,
    rescored: int,
    mended: Mended,
) -> None:
    """Add to the report what one part came to."""
    reasons = verdict.reasons[rows.fetched & ~(mended.text & verdict.rejected)]  # text is counted as it came
    report.fetched += int((rows.fetched & ~mended.text).sum()) + len(answer.unreadable)
    report.repaired += int((mended.repaired & ~verdict.rejected).sum())
    report.suggested += sum(not row["applied"] for row in mended.log)
    report.inserted += counts.inserted
    report.revised += counts.revised
    report.unchanged += counts.unchanged
    report.rejected += logged
    report.rescored += rescored
    report.disputed += len(rows.disputed.session)
    report.flagged += int(((verdict.reasons != 0) & ~verdict.rejected & rows.fetched).sum())
    report.splits += len(answer.splits)
    report.dividends += len(answer.dividends)
    times = np.bincount(reasons)
    for flags in np.flatnonzero(times):
        for code in rules.codes(int(flags)):
            report.reasons[code] += int(times[flags])
    report.reasons.update(row.reason for row in answer.unreadable)
    report.failures.update({symbol: f"{type(e).__name__}: {e}" for symbol, e in answer.failures.items()})


def note_silence(warehouse: Warehouse, vendor: str, asked: Sequence[tuple[int, BarRequest]], now: datetime) -> None:
    """Note that a source was asked for these and had nothing, so that what lies before a listing is not asked again."""
    with warehouse.arrow() as transaction:
        fetches.move_cursors(transaction, vendor, [(i, r.first, None) for i, r in asked], now)

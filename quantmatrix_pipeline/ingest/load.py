"""Store one part of a source's answer: prove its bars sound beside what is stored, then write all of it at once."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quantmatrix_pipeline.bars import rules
from quantmatrix_pipeline.bars.batch import FIELDS, BarBatch, Bools, Dates, Ints
from quantmatrix_pipeline.bars.schema import check_batch
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.bars.stored import Sources, split_table, stored_units
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.providers.answers import DailyAnswer, Kind
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.warehouse import actions, fetches
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse.engine import ArrowTransaction, Warehouse
from quantmatrix_pipeline.warehouse.history import mark_due
from quantmatrix_pipeline.warehouse.universe import Tracked

INTERVAL = "1d"


@dataclass(frozen=True, slots=True)
class _Rows:
    """New and stored bars of the same instruments, ascending by (instrument, session); what is new comes after what is
    stored.
    """

    instrument_id: Ints
    session: Dates
    values: dict[str, npt.NDArray[np.float64]]  # open .. volume
    source_id: npt.NDArray[np.int16]
    fetched: Bools  # came with this answer
    judged: Bools  # fetched, or stored after the first fetched bar: its flags may change
    stored_verdict: dict[str, npt.NDArray[Any]]  # as stored; meaningless where fetched
    stored: pa.Table  # the stored ones as they were read


def store_answer(
    warehouse: Warehouse,
    calendar: TradingCalendar,
    instruments: Mapping[str, Tracked],
    requests: Mapping[str, BarRequest],
    answer: DailyAnswer,
    report: IngestReport,
    now: datetime,
) -> None:
    """Validate and write one part of an answer in one transaction, and add what was done to `report`.

    Sound bars are stored, refused ones logged with their reasons and payload, actions appended, cursors moved: all of
    it or, when anything fails, nothing.
    """
    check_batch(answer.bars, vendor=answer.vendor)
    bars = _wanted(answer.bars, calendar, instruments, requests)
    ids = np.array([instruments[s].instrument_id if s in instruments else -1 for s in answer.bars.symbols], np.int32)
    instrument_id = ids[bars.symbol_index] if len(bars) else np.empty(0, np.int32)
    source = tables.source_id(warehouse, answer.vendor, answer.basis.value, answer.basis_date)
    sources = tables.sources(warehouse)
    with warehouse.arrow() as transaction:
        transaction.lock("bars_1d")
        learned = actions.write_actions(transaction, _actions(answer, instruments, now))
        rows = _beside_stored(transaction, instrument_id, bars, source, learned)
        verdict = _judge(transaction, rows, calendar, instruments, sources)
        refused = rows.fetched & verdict.rejected
        counts = tables.write_daily(
            transaction, _table(rows, verdict, rows.fetched & ~refused), now, stored=rows.stored
        )
        changed = _flags_changed(rows, verdict)
        if changed.any():
            tables.write_daily(transaction, _table(rows, verdict, changed), now, reason="rescored", stored=rows.stored)
        log = _refusals(answer, rows, verdict, np.flatnonzero(refused), instruments, now) + _unreadable(
            answer, instruments, now
        )
        fetches.write_log(transaction, log)
        mark_due(transaction, _changed_since(rows, (rows.fetched & ~refused) | changed, learned))
        fetches.move_cursors(transaction, answer.vendor, _asked(answer, instruments, requests, rows), now)

    report.fetched += len(bars) + len(answer.unreadable)
    report.inserted += counts.inserted
    report.revised += counts.revised
    report.unchanged += counts.unchanged
    report.rejected += len(log)
    report.rescored += int(changed.sum())
    sound = rows.fetched & ~verdict.rejected
    report.flagged += int((sound & (verdict.reasons != 0)).sum())
    report.splits += len(answer.splits)
    report.dividends += len(answer.dividends)
    times = np.bincount(verdict.reasons[rows.fetched])
    for flags in np.flatnonzero(times):
        for code in rules.codes(int(flags)):
            report.reasons[code] += int(times[flags])
    report.reasons.update(row.reason for row in answer.unreadable)
    report.failures.update({symbol: f"{type(e).__name__}: {e}" for symbol, e in answer.failures.items()})


def _wanted(
    bars: BarBatch, calendar: TradingCalendar, instruments: Mapping[str, Tracked], requests: Mapping[str, BarRequest]
) -> BarBatch:
    """Leave out what nobody asked for: another symbol's answer, or another session's, must not become a bar.

    A row dated on no session at all stays; validation refuses it and the log says so.
    """
    at = calendar.index_of(bars.session)
    asked = np.zeros((len(bars.symbols), len(calendar.sessions)), dtype=bool)
    known = np.zeros(len(bars.symbols), dtype=bool)
    for place, symbol in enumerate(bars.symbols):
        if symbol in requests and symbol in instruments:
            known[place] = True
            asked[place, calendar.index_of(requests[symbol].sessions)] = True
    wanted = known[bars.symbol_index] & ((at < 0) | asked[bars.symbol_index, at])
    return bars if wanted.all() else bars.take(wanted)


def _beside_stored(
    transaction: ArrowTransaction, instrument_id: Ints, bars: BarBatch, source: int, learned: Mapping[int, date]
) -> _Rows:
    """Merge the fetched bars with the stored ones that their verdict depends on, or whose verdict depends on them.

    `learned` is instrument_id -> earliest ex-date of the splits that the answer brought: what looked like a gap from
    there on may have been a split.
    """
    ids = np.unique(np.concatenate([instrument_id[_heads(instrument_id)], np.array(list(learned), np.int32)]))
    first = np.full(len(ids), np.datetime64("9999-12-31"), dtype="datetime64[D]")
    # A date that is no date (NaT) is judged below; it must not decide how far back the context reaches.
    dated = ~np.isnat(bars.session)
    np.minimum.at(first, np.searchsorted(ids, instrument_id[dated]), bars.session[dated])
    for known, ex_date in learned.items():
        at = np.searchsorted(ids, known)
        first[at] = min(first[at], np.datetime64(ex_date, "D"))
    stored = tables.read_neighbourhood(transaction, ids, first, before=rules.CONTEXT_BARS)
    stored_id = stored["instrument_id"].to_numpy()
    stored_session = stored["session"].to_numpy().astype("datetime64[D]")
    new = len(bars)
    every_id = np.concatenate([stored_id, instrument_id]).astype(np.int32)
    every_session = np.concatenate([stored_session, bars.session])
    order = np.lexsort((every_session, every_id))  # stable: a stored bar stands before a fetched one of its key
    after_first = stored_session >= first[np.searchsorted(ids, stored_id)] if len(stored_id) else np.empty(0, bool)
    every_id, every_session = every_id[order], every_session[order]
    fetched = np.concatenate([np.zeros(len(stored_id), bool), np.ones(new, bool)])[order]
    superseded = np.zeros(len(order), bool)  # a stored key stands once, so what follows it under its key was fetched
    superseded[:-1] = ~fetched[:-1] & (every_id[1:] == every_id[:-1]) & (every_session[1:] == every_session[:-1])

    def merged(name: str, fetched: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.concatenate([stored[name].to_numpy(), fetched])[order]

    return _Rows(
        instrument_id=every_id,
        session=every_session,
        values={name: merged(name, getattr(bars, name)) for name in FIELDS},
        source_id=merged("source_id", np.full(new, source, np.int16)),
        fetched=fetched,
        judged=np.concatenate([after_first, np.ones(new, bool)])[order] & ~superseded,
        stored_verdict={
            "quality_score": merged("quality_score", np.zeros(new)),
            "gap_detected": merged("gap_detected", np.zeros(new, bool)),
            "volume_anomaly": merged("volume_anomaly", np.zeros(new, bool)),
        },
        stored=stored,
    )


def _heads(instrument_id: Ints) -> Bools:
    """Tell the first row of each run of one instrument; few rows, where `np.unique` would look at all of them."""
    heads = np.ones(len(instrument_id), bool)
    heads[1:] = instrument_id[1:] != instrument_id[:-1]
    return heads


def _judge(
    transaction: ArrowTransaction,
    rows: _Rows,
    calendar: TradingCalendar,
    instruments: Mapping[str, Tracked],
    sources: Sources,
) -> rules.Verdict:
    splits = split_table(actions.read_splits(transaction))
    heads = _heads(rows.instrument_id)  # the rows are sorted: one run per instrument
    indices = {t.instrument_id for t in instruments.values() if t.kind == Kind.INDEX}
    return rules.validate(
        rules.BarRows(
            instrument_index=(np.cumsum(heads) - 1).astype(np.int32),
            session=rows.session,
            **rows.values,
            unit=stored_units(splits, rows.instrument_id, rows.session, rows.source_id, sources),
            is_new=rows.judged,
            without_volume=np.array([int(i) in indices for i in rows.instrument_id[heads]], dtype=bool),
        ),
        calendar,
    )


def _flags_changed(rows: _Rows, verdict: rules.Verdict) -> Bools:
    differs = np.zeros(len(rows.session), dtype=bool)
    for name, stored in rows.stored_verdict.items():
        differs |= getattr(verdict, name) != stored
    return rows.judged & ~rows.fetched & ~verdict.rejected & differs


def _table(rows: _Rows, verdict: rules.Verdict, keep: Bools) -> pa.Table:
    columns = {
        "instrument_id": pa.array(rows.instrument_id[keep]),
        "session": pa.array(rows.session[keep], pa.date32()),
        **{name: pa.array(np.nan_to_num(rows.values[name][keep])) for name in FIELDS},  # only an index has a NaN volume
        "quality_score": pa.array(verdict.quality_score[keep]),
        "validated": pa.array(verdict.validated[keep]),
        "gap_detected": pa.array(verdict.gap_detected[keep]),
        "volume_anomaly": pa.array(verdict.volume_anomaly[keep]),
        "source_id": pa.array(rows.source_id[keep].astype(np.int16)),
    }
    return pa.table(columns)


def _actions(answer: DailyAnswer, instruments: Mapping[str, Tracked], now: datetime) -> list[dict[str, object]]:
    common = {"vendor": answer.vendor, "as_of": now}
    found: list[dict[str, object]] = [
        {
            **common,
            "instrument_id": instruments[s.symbol].instrument_id,
            "kind": "split",
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


def _changed_since(rows: _Rows, written: Bools, learned: Mapping[int, date]) -> dict[int, date]:
    """Return instrument_id -> the first session whose numbers follow from bars or splits that are new."""
    ids, days = rows.instrument_id[written], rows.session[written]
    heads = _heads(ids)
    since: dict[int, date] = dict(zip(ids[heads].tolist(), days[heads].tolist(), strict=True))
    for instrument_id, ex_date in learned.items():
        since[instrument_id] = min(ex_date, since.get(instrument_id, ex_date))
    return since


def _refusals(
    answer: DailyAnswer,
    rows: _Rows,
    verdict: rules.Verdict,
    refused: npt.NDArray[np.intp],
    instruments: Mapping[str, Tracked],
    now: datetime,
) -> list[dict[str, object]]:
    symbols = {t.instrument_id: symbol for symbol, t in instruments.items()}
    seen: dict[tuple[object, ...], int] = {}
    log: list[dict[str, object]] = []
    for row in refused:
        instrument_id, day = int(rows.instrument_id[row]), rows.session[row]
        session = None if np.isnat(day) else day.item()
        payload = {name: _number(rows.values[name][row]) for name in FIELDS}
        # Repeats of one row in one answer are as many refusals; the number keeps them apart and makes a re-run find
        # them.
        key = (instrument_id, session, *payload.values())
        seen[key] = seen.get(key, 0) + 1
        log.append(
            {
                "vendor": answer.vendor,
                "symbol": symbols[instrument_id],
                "instrument_id": instrument_id,
                "interval": INTERVAL,
                "session": session,
                "reason_codes": rules.codes(int(verdict.reasons[row])),
                "detail": f"repeat {seen[key]}" if seen[key] > 1 else None,
                "payload": json.dumps(payload),
                "logged_at": now,
            }
        )
    return log


def _number(value: float) -> float | str | None:
    """A number as JSON knows it; what JSON lacks is spelled out."""
    return float(value) if math.isfinite(value) else None if math.isnan(value) else str(value)


def _unreadable(answer: DailyAnswer, instruments: Mapping[str, Tracked], now: datetime) -> list[dict[str, object]]:
    return [
        {
            "vendor": answer.vendor,
            "symbol": row.symbol,
            "instrument_id": _id_of(row.symbol, instruments),
            "interval": INTERVAL,
            "session": row.session,
            "reason_codes": [row.reason],
            "detail": row.detail,
            "payload": json.dumps(dict(row.payload), default=str),
            "logged_at": now,
        }
        for row in answer.unreadable
    ]


def _id_of(symbol: str | None, instruments: Mapping[str, Tracked]) -> int | None:
    known = instruments.get(symbol) if symbol else None
    return known.instrument_id if known else None


def _asked(
    answer: DailyAnswer, instruments: Mapping[str, Tracked], requests: Mapping[str, BarRequest], rows: _Rows
) -> list[tuple[int, date, date | None]]:
    """Return, for the symbols that bars came of, since when they were asked for and the first session that came."""
    came = rows.instrument_id[rows.fetched]
    first = dict(zip(came[_heads(came)].tolist(), rows.session[rows.fetched][_heads(came)].tolist(), strict=True))
    ids = {symbol: instruments[symbol].instrument_id for symbol in answer.bars.symbols if symbol in requests}
    return [(i, requests[symbol].first, first[i]) for symbol, i in ids.items() if first.get(i) is not None]


def note_silence(warehouse: Warehouse, vendor: str, asked: Sequence[tuple[int, BarRequest]], now: datetime) -> None:
    """Note that a source was asked for these and had nothing, so that what lies before a listing is not asked again."""
    with warehouse.arrow() as transaction:
        fetches.move_cursors(transaction, vendor, [(i, r.first, None) for i, r in asked], now)

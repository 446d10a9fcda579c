"""What one vendor says beside what is stored: brought to the same share units, compared, and as rows to be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from quantmatrix_pipeline.bars.adjustment import SplitTable, anchor
from quantmatrix_pipeline.bars.batch import FIELDS, Basis, Floats
from quantmatrix_pipeline.bars.reconcile.causes import CAUSES, Cause
from quantmatrix_pipeline.bars.reconcile.classify import Comparison, Limits, compare
from quantmatrix_pipeline.bars.reconcile.pair import VOLUME, Pair, Rows
from quantmatrix_pipeline.bars.reconcile.verdict import Verdict, against, sides_with, verdict
from quantmatrix_pipeline.bars.stored import Sources, stored_units
from quantmatrix_pipeline.providers.answers import DailyAnswer
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.routing.second import Question
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse.bars import Columns

THIRD = "third_opinion"

Key = tuple[int, date]  # of a bar: instrument_id, session
Row = dict[str, Any]  # as `warehouse.reconciliation.write` takes it


@dataclass(frozen=True, slots=True)
class Stored:
    """Stored bars around those in question, ascending by key; what they mean; and why each of the latter is asked."""

    bars: Columns
    sources: Sources
    splits: SplitTable
    wanted: Mapping[Key, str]
    ids: Mapping[str, int]

    def questions(self, also_not: Mapping[int, frozenset[str]]) -> list[Question]:
        """Return a question per symbol of `also_not`, for its stored sessions, of nobody who is named or gave them."""
        found = []
        for symbol, number in self.ids.items():
            if number in also_not:
                own = slice(*np.searchsorted(self.bars["instrument_id"], [number, number + 1]))
                gave = {self.sources[int(k)][0] for k in np.unique(self.bars["source_id"][own])}
                request = BarRequest(symbol, self.bars["session"][own])
                found.append(Question(request, also_not[number] | gave))
        return found


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one vendor says beside what is stored.

    Attributes
    ----------
    at
        Shape (n,): the stored row of each row of the comparison.
    factor
        Shape (n,): by which its prices were multiplied to stand in the stored share unit.
    """

    answer: DailyAnswer
    found: Comparison
    at: Rows
    factor: Floats


def opinion_of(stored: Stored, answer: DailyAnswer, limits: Limits) -> Opinion:
    """Put an answer beside the stored bars of its symbols, in their share units, and compare."""
    bars, batch = stored.bars, answer.bars
    own = np.array([stored.ids.get(symbol, -1) for symbol in batch.symbols] or [-1], np.int32)
    instrument = own[batch.symbol_index]
    keys = tables.packed_keys(instrument, batch.session)
    _, at, theirs = np.intersect1d(
        tables.packed_keys(bars["instrument_id"], bars["session"]), keys, return_indices=True
    )
    lowered = [number for number, (_, basis, _) in stored.sources.items() if basis == Basis.SPLIT_DIVIDEND]
    like = np.isin(bars["source_id"][at], lowered) == (answer.basis is Basis.SPLIT_DIVIDEND)
    at, theirs = at[like], theirs[like]  # a price less dividends and one that is not are never compared
    quoted = anchor(batch.session[theirs], answer.basis, _day(answer.basis_date))
    key = bars["instrument_id"][at], bars["session"][at]
    factor = stored.splits.unit(key[0], quoted) / stored_units(
        stored.splits, *key, bars["source_id"][at], stored.sources
    )
    first = np.array([bars[name][at] for name in FIELDS])
    second = np.array([getattr(batch, name)[theirs] for name in FIELDS]) * factor
    second[VOLUME] /= factor**2
    return Opinion(answer, compare(Pair(*key, first, second), limits), at, factor)


def rows_of(stored: Stored, opinion: Opinion, session: date, limits: Limits) -> dict[Key, Row]:
    """Return the comparison of each bar in question that the opinion is about, as `reconciliation.write` takes it."""
    found, pair, answer = opinion.found, opinion.found.pair, opinion.answer
    rows: dict[Key, Row] = {}
    for row, key in enumerate(zip(pair.instrument.tolist(), pair.session.tolist(), strict=True)):
        if key in stored.wanted and np.isfinite(pair.second[:VOLUME, row]).all():
            cause = CAUSES[found.cause[row]]
            said = verdict(cause, int(found.suspect[row]))
            came = pair.second[:, row] / opinion.factor[row]
            came[VOLUME] = pair.second[VOLUME, row] * opinion.factor[row]
            rows[key] = _row(stored, key, int(opinion.at[row]), session) | {
                "second_vendor": answer.vendor,
                "second_basis": answer.basis,
                "second_basis_date": answer.basis_date,
                **{f"second_{name}": _number(x) for name, x in zip(FIELDS, came, strict=True)},
                "cause": cause,
                "verdict": said,
                "against": against(said, vendor_of(stored, int(opinion.at[row])), answer.vendor),
                "stored_bar": pair.first[:, row].tolist(),
                "second_bar": pair.second[:, row].tolist(),
                "differences": [
                    {
                        "field": name,
                        "stored": float(pair.first[k, row]),
                        "second": float(pair.second[k, row]),
                        "difference": float(found.relative[k, row]),
                        "tolerance": limits.volume if k == VOLUME else limits.price,
                    }
                    for k, name in enumerate(FIELDS)
                    if found.differs[k, row]
                ],
            }
    return rows


def _row(stored: Stored, key: Key, at: int, session: date) -> Row:
    return {
        "instrument_id": key[0],
        "session": key[1],
        "source_id": int(stored.bars["source_id"][at]),
        "version": int(stored.bars["version"][at]),
        "asked_because": stored.wanted[key],
        "run_session": session,
    }


def absent_rows(
    stored: Stored,
    silent: Mapping[str, str],
    answers: Sequence[DailyAnswer],
    rows: Mapping[Key, Row],
    session: date,
) -> dict[Key, Row]:
    """Return a row for each bar in question of which a vendor was asked that does not have it."""
    by: dict[int, tuple[str, Basis, date | None]] = {
        stored.ids[symbol]: (vendor, Basis.RAW, None) for symbol, vendor in silent.items()
    }
    for answer in answers:
        if answer.basis is Basis.SPLIT_DIVIDEND:
            continue  # may have the bar, in prices that can't be compared
        of = {stored.ids[s] for s in answer.bars.symbols if s in stored.ids}
        by |= dict.fromkeys(of, (answer.vendor, answer.basis, answer.basis_date))
    keys = zip(stored.bars["instrument_id"].tolist(), stored.bars["session"].tolist(), strict=True)
    found = {}
    for at, key in enumerate(keys):
        if key in stored.wanted and key not in rows and key[0] in by:
            vendor, basis, basis_date = by[key[0]]
            found[key] = _row(stored, key, at, session) | {
                "second_vendor": vendor,
                "second_basis": basis,
                "second_basis_date": basis_date,
                **{f"second_{name}": None for name in FIELDS},
                "cause": Cause.NONE,
                "verdict": Verdict.ABSENT,
                "against": (),
                "differences": [],
            }
    return found


def doubtful(row: Mapping[str, Any]) -> bool:
    """Say whether a third vendor is worth asking: two say things that can't both be right."""
    return row["verdict"] in (Verdict.STORED, Verdict.SECOND, Verdict.OPEN)


def settle(stored: Stored, rows: dict[Key, Row], third: Opinion, session: date, limits: Limits) -> list[Row]:
    """Let a third vendor's bars decide between two, in `rows`; return its own comparisons with what is stored."""
    kept = []
    pair = third.found.pair
    beside = rows_of(stored, third, session, limits)
    place = {key: n for n, key in enumerate(zip(pair.instrument.tolist(), pair.session.tolist(), strict=True))}
    for key, own in beside.items():
        row = rows.get(key)
        if row is None or not doubtful(row):
            continue
        at = place[key]
        differs = np.isin(FIELDS, [difference["field"] for difference in row["differences"]])
        sided = sides_with(pair.first[:, at], np.array(row["second_bar"]), pair.second[:, at], differs, limits)
        vendor = vendor_of(stored, int(third.at[at]))
        said = row["verdict"] if sided is None else verdict(row["cause"], -1, sided)
        rows[key] = row | {"verdict": said, "against": against(said, vendor, row["second_vendor"])}
        if sided is not None:
            rows[key]["third_vendor"] = third.answer.vendor
        kept.append(own | {"asked_because": THIRD, "against": ()})
    return kept


def vendor_of(stored: Stored, at: int) -> str:
    return stored.sources[int(stored.bars["source_id"][at])][0]


def _day(day: date | None) -> np.datetime64 | None:
    return None if day is None else np.datetime64(day, "D")


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

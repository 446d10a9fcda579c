"""What came of an answer, merged with the stored bars around it: the rows on which validation works and out of which
what is new is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quantmatrix_pipeline.bars import rules
from quantmatrix_pipeline.bars.adjustment import SplitTable
from quantmatrix_pipeline.bars.batch import FIELDS, BarBatch, Bools, Dates, Floats, Ints
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.bars.stored import Sources
from quantmatrix_pipeline.ingest.corrections import Tolerance, same_bars, same_vendor
from quantmatrix_pipeline.ingest.tails import COLUMNS, Tails
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse.bars import Columns
from quantmatrix_pipeline.warehouse.engine import ArrowTransaction

_BEGINNING = np.datetime64("0001-01-01", "D")
_END = np.datetime64("9999-12-31", "D")


@dataclass(frozen=True, slots=True)
class Fetched:
    """n bars of one source as they came, ascending by (instrument, session), repeats of a key as they came."""

    instrument_id: Ints
    session: Dates
    values: dict[str, Floats]  # open .. volume
    source_id: int

    @classmethod
    def of(cls, bars: BarBatch, instrument_id: Ints, source_id: int) -> Fetched:
        """Return the bars of a batch, whose rows belong to these instruments, in order."""
        order = np.lexsort((bars.session, instrument_id))  # stable
        return cls(instrument_id[order], bars.session[order], {f: getattr(bars, f)[order] for f in FIELDS}, source_id)


@dataclass(frozen=True, slots=True)
class Disputed:
    """Bars of which another vendor than the stored one's says something else: the stored ones stay."""

    instrument_id: Ints
    session: Dates
    values: dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Rows:
    """New and stored bars of the same instruments, ascending by (instrument, session); what is new comes after what is
    stored.
    """

    instrument_id: Ints
    session: Dates
    values: dict[str, Floats]  # open .. volume; a fetched bar that says what is stored has the stored numbers
    source_id: npt.NDArray[np.int16]
    fetched: Bools  # came with this answer
    judged: Bools  # fetched, or stored after the first fetched bar: its flags may change
    concerned: Ints  # whose bars these are, sorted, and who has none
    later: Columns  # the proved bars from each instrument's first fetched one on, as they were read
    later_at: npt.NDArray[np.intp]  # where they stand
    stored: Columns  # those and the unproved ones, which stand nowhere here: what is written is compared with them
    disputed: Disputed


class Surroundings:
    """Reads what lies around fetched bars, within one transaction.

    `splits` and `sources` are those in force, for comparing bars of different sources.
    """

    def __init__(
        self,
        transaction: ArrowTransaction,
        calendar: TradingCalendar,
        tails: Tails,
        *,
        splits: SplitTable,
        sources: Sources,
        tolerance: Tolerance,
    ) -> None:
        self._transaction = transaction
        self._calendar = calendar
        self._tails = tails
        self._splits = splits
        self._sources = sources
        self._tolerance = tolerance

    def merge(self, fetched: Fetched, learned: Mapping[int, date]) -> Rows:
        """Merge fetched bars with the stored ones that their verdict depends on, or whose verdict depends on them.

        `learned` is instrument_id -> earliest ex-date of the splits that the answer brought: what looked like a gap
        from there on may have been a split.
        """
        ids, first, last = _spans(fetched.instrument_id, fetched.session, self._calendar, learned)
        before, later, compared = self._read(ids, first, last, learned)
        stored = _joined(before, {name: later[name] for name in COLUMNS})
        stored_keys = tables.packed_keys(stored["instrument_id"], stored["session"])
        # A date may be absurd; it is refused, wherever it stands.
        keys = tables.packed_keys(fetched.instrument_id, np.clip(fetched.session, _BEGINNING, _END))
        place = np.searchsorted(stored_keys, keys, side="right")  # a stored bar stands before a fetched one of its key
        again = np.zeros(len(keys), np.bool_)
        if len(stored_keys):
            again = (place > 0) & (stored_keys[place - 1] == keys)
        values, source, disputed = self._settled(
            fetched, np.flatnonzero(again), {name: stored[name][place[again] - 1] for name in COLUMNS}
        )

        fetched_at = place + np.arange(len(keys))
        is_fetched = np.zeros(len(keys) + len(stored_keys), np.bool_)
        is_fetched[fetched_at] = True
        stored_at = np.flatnonzero(~is_fetched)

        def merged(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[Any]:
            column = np.empty(len(is_fetched), old.dtype)
            column[stored_at], column[fetched_at] = old, new
            return column

        later_at = stored_at[np.searchsorted(stored_keys, tables.packed_keys(later["instrument_id"], later["session"]))]
        judged = is_fetched.copy()
        judged[later_at] = True
        judged[stored_at[place[again] - 1]] = False  # replaced, or its twin is refused: either way it stays as it is
        return Rows(
            instrument_id=merged(stored["instrument_id"], fetched.instrument_id),
            session=merged(stored["session"], fetched.session),
            values={name: merged(stored[name], values[name]) for name in FIELDS},
            source_id=merged(stored["source_id"], source),
            fetched=is_fetched,
            judged=judged,
            concerned=ids,
            later=later,
            later_at=later_at,
            stored=compared,
            disputed=disputed,
        )

    def _read(
        self, ids: Ints, first: Dates, last: Dates, learned: Mapping[int, date]
    ) -> tuple[Columns, Columns, Columns]:
        """Return the proved bars before each instrument's first day, those from there on, and these with the unproved
        ones.
        """
        known = self._tails.precede(ids, first)
        known[np.searchsorted(ids, list(learned))] = False
        if not known.any():
            self._tails.empty()  # parts that share no instrument, as those of a source that answers by symbol
        unknown = ids[~known]
        read = tables.read_neighbourhood(
            self._transaction, unknown, first[~known], last[~known], around=rules.CONTEXT_BARS
        )
        from_first_on = read["session"] >= first[np.searchsorted(ids, read["instrument_id"])]
        compared = {name: column[from_first_on] for name, column in read.items()}
        proved = compared["quality_score"] > tables.UNPROVED
        later = compared if proved.all() else {name: column[proved] for name, column in compared.items()}
        before = _joined(self._tails.without(unknown), {name: read[name][~from_first_on] for name in COLUMNS})
        return before, later, compared

    def _settled(
        self, fetched: Fetched, again: npt.NDArray[np.intp], stored: Columns
    ) -> tuple[dict[str, Floats], npt.NDArray[np.int16], Disputed]:
        """Return the fetched values and sources with the stored ones in the place of those that say the same, or that
        another vendor disputes; and the latter.

        `again` is which of the fetched bars are stored already, and `stored` their stored versions.
        """
        source = np.full(len(fetched.session), fetched.source_id, np.int16)
        if not len(again):
            return fetched.values, source, Disputed(*self._taken(fetched, again))
        ids, session, said = self._taken(fetched, again)
        if (stored["source_id"] == fetched.source_id).all() and all((said[f] == stored[f]).all() for f in FIELDS):
            return fetched.values, source, Disputed(*self._taken(fetched, again[:0]))  # as nearly always: nothing to do
        same = same_bars(
            ids,
            session,
            said,
            stored,
            fetched.source_id,
            stored["source_id"],
            splits=self._splits,
            sources=self._sources,
            tolerance=self._tolerance,
        )
        others = ~same & ~same_vendor(fetched.source_id, stored["source_id"], self._sources)
        stays = same | others
        values = {name: column.copy() for name, column in fetched.values.items()}
        for name in FIELDS:
            values[name][again[stays]] = stored[name][stays]
        source[again[stays]] = stored["source_id"][stays]
        return values, source, Disputed(*self._taken(fetched, again[others]))

    @staticmethod
    def _taken(fetched: Fetched, rows: npt.NDArray[np.intp]) -> tuple[Ints, Dates, dict[str, Floats]]:
        return fetched.instrument_id[rows], fetched.session[rows], {f: fetched.values[f][rows] for f in FIELDS}


def _spans(
    instrument_id: Ints, session: Dates, calendar: TradingCalendar, learned: Mapping[int, date]
) -> tuple[Ints, Dates, Dates]:
    """Return the instruments concerned, sorted, and the first and last day on which something may change for each.

    The bars are sorted. A split concerns all bars from its ex-date on; a bar on no session none.
    """
    heads = np.flatnonzero(first_rows(instrument_id))
    ids = np.union1d(instrument_id[heads], np.array(list(learned), np.int32)).astype(np.int32)
    first, last = np.full(len(ids), _END), np.full(len(ids), _END)
    on_session = calendar.index_of(session) >= 0
    owner, days = instrument_id[on_session], session[on_session]
    starts = np.flatnonzero(first_rows(owner))
    at = np.searchsorted(ids, owner[starts])
    first[at] = days[starts]
    last[at] = days[np.append(starts[1:], len(days))[: len(starts)] - 1]
    for known, ex_date in learned.items():
        place = np.searchsorted(ids, known)
        first[place] = min(first[place], np.datetime64(ex_date, "D"))
        last[place] = _END
    return ids, first, last


def _joined(one: Columns, other: Columns) -> Columns:
    """Return the rows of both, sorted; no key stands in both."""
    if not len(other["session"]) or not len(one["session"]):
        return one if len(one["session"]) else other
    both = {name: np.concatenate([one[name], other[name]]) for name in one}
    order = np.argsort(tables.packed_keys(both["instrument_id"], both["session"]), kind="stable")
    return {name: column[order] for name, column in both.items()}


def first_rows(instrument_id: Ints) -> Bools:
    """Tell the first row of each run of one instrument; few rows, where `np.unique` would look at all of them."""
    heads = np.ones(len(instrument_id), bool)
    heads[1:] = instrument_id[1:] != instrument_id[:-1]
    return heads


def flags_changed(rows: Rows, verdict: rules.Verdict) -> Bools:
    """Tell which stored bars are scored otherwise now, shape of the rows."""
    at = rows.later_at
    differs = np.zeros(len(at), np.bool_)
    for name in ("quality_score", "gap_detected", "volume_anomaly"):
        differs |= getattr(verdict, name)[at] != rows.later[name]
    changed = np.zeros(len(rows.session), np.bool_)
    changed[at[differs]] = True
    return changed & rows.judged & ~verdict.rejected


def stored_now(rows: Rows, sound: Bools) -> Columns:
    """Return the bars that are stored once the fetched ones that are sound have been written."""
    columns = {"instrument_id": rows.instrument_id, "session": rows.session, **rows.values, "source_id": rows.source_id}
    stored = sound | ~rows.fetched
    return columns if stored.all() else {name: column[stored] for name, column in columns.items()}


def table_of(rows: Rows, verdict: rules.Verdict, keep: Bools) -> pa.Table:
    at = np.flatnonzero(keep)
    columns = {
        "instrument_id": pa.array(rows.instrument_id[at]),
        "session": pa.array(rows.session[at], pa.date32()),
        **{name: pa.array(np.nan_to_num(rows.values[name][at])) for name in FIELDS},  # only an index has a NaN volume
        "quality_score": pa.array(verdict.quality_score[at]),
        "validated": pa.array(verdict.validated[at]),
        "gap_detected": pa.array(verdict.gap_detected[at]),
        "volume_anomaly": pa.array(verdict.volume_anomaly[at]),
        "source_id": pa.array(rows.source_id[at]),
    }
    return pa.table(columns)

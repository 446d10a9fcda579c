"""Settle which splits count once the bars around them are stored, and judge anew the bars that this concerns.

Each function works in transactions of its own and may be repeated: whatever is killed in between, the next run decides
what is still undecided.
"""

from __future__ import annotations

import json
import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from quantmatrix_pipeline.bars import rules
from quantmatrix_pipeline.bars.batch import Bools, Dates, Ints
from quantmatrix_pipeline.bars.repair.catalogue import SPLIT_UNIT
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.bars.split_evidence import (
    WITHDRAWN_BY_HAND,
    Claim,
    Decision,
    Move,
    decide,
    events,
    looks_like_a_split,
    moves_of,
)
from quantmatrix_pipeline.bars.stored import quoted_on, split_table, stored_units
from quantmatrix_pipeline.bars.thresholds import DEFAULT_THRESHOLDS, Thresholds
from quantmatrix_pipeline.providers.answers import DailyAnswer, Kind
from quantmatrix_pipeline.warehouse import actions, audit, repairs
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse.bars import Columns
from quantmatrix_pipeline.warehouse.engine import ArrowTransaction, Warehouse
from quantmatrix_pipeline.warehouse.history import mark_due
from quantmatrix_pipeline.warehouse.universe import Tracked

log = logging.getLogger(__name__)

PRICES = "prices"  # the vendor of a split on a day that no vendor names but the prices show
SHOWN = "shown_by_prices"
AROUND = timedelta(days=14)  # on either side of an ex-date: its event, and a bar on both sides of any halt within
_BEGINNING = np.datetime64("0001-01-01", "D")
_END = np.datetime64("9999-12-31", "D")


class Believed:
    """Jumps that look like a split's and, as another vendor than that of the bar says, are none."""

    def __init__(self, jumps: pa.Table) -> None:
        instrument, session = jumps["instrument_id"].to_numpy(), jumps["session"].to_numpy()
        self._keys = np.sort(tables.packed_keys(instrument, session)) if jumps.num_rows else np.empty(0, np.int64)

    @classmethod
    def read(cls, transaction: ArrowTransaction) -> Believed:
        return cls(actions.believed_jumps(transaction))

    def among(self, instrument_id: Ints, session: Dates) -> Bools:
        """Tell which bars are such jumps, shape of the rows."""
        if not len(self._keys):
            return np.zeros(len(session), np.bool_)
        known = np.clip(session, _BEGINNING, _END)
        return np.isin(tables.packed_keys(instrument_id, known), self._keys)


class SplitKeeper:
    """Decides on splits; the caller holds the exclusive lock `bars_1d`.

    Parameters
    ----------
    instruments
        By symbol: what is tracked.
    now
        When it is decided.
    thresholds
        From where on bars are flagged.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        calendar: TradingCalendar,
        instruments: Mapping[str, Tracked],
        now: datetime,
        thresholds: Thresholds = DEFAULT_THRESHOLDS,
    ) -> None:
        self._warehouse = warehouse
        self._calendar = calendar
        self._instruments = instruments
        self._symbols = {t.instrument_id: symbol for symbol, t in instruments.items()}
        self._indices = np.array([t.instrument_id for t in instruments.values() if t.kind == Kind.INDEX], np.int32)
        self._now = now
        self._thresholds = thresholds
        # instrument_id -> the ex-dates from or to which a split was moved, taken away or added by what was decided
        self.changed: dict[int, set[date]] = defaultdict(set)

    def take_back(self, answer: DailyAnswer) -> None:
        """Withdraw the splits that a vendor named before and, asked about their days, names no more."""
        spans = {
            self._instruments[s].instrument_id: span for s, span in answer.splits_told.items() if s in self._instruments
        }
        if not spans:
            return
        named = {
            (self._instruments[s.symbol].instrument_id, s.ex_date)
            for s in answer.splits
            if s.symbol in self._instruments
        }
        with self._warehouse.arrow() as transaction:
            self._begin(transaction)
            gone = [
                row
                for row in actions.split_claims(transaction, list(spans)).to_pylist()
                if row["vendor"] == answer.vendor
                and spans[row["instrument_id"]][0] <= row["ex_date"] <= spans[row["instrument_id"]][1]
                and (row["instrument_id"], row["ex_date"]) not in named
            ]
            self._withdraw(transaction, gone)

    def add(self, said: Sequence[Mapping[str, object]]) -> None:
        """Append actions (see `write_actions`) and judge anew the bars from the first new split of each on."""
        with self._warehouse.arrow() as transaction:
            self._begin(transaction)
            rows = [dict(action) | {"as_of": self._now} for action in said]
            learned = actions.write_actions(transaction, rows)
            self._judge_again(transaction, learned)
        for instrument_id, ex_date in learned.items():
            self.changed[instrument_id].add(ex_date)

    def rule(self, verdicts: Sequence[Mapping[str, object]], instrument_ids: Sequence[int]) -> None:
        """Write verdicts on actions of some instruments, as an operator decides, and judge anew what they concern."""
        ids = np.array(sorted(set(instrument_ids)), np.int32)
        with self._warehouse.arrow() as transaction:
            self._begin(transaction)
            before = _in_force(transaction, ids)
            actions.write_verdicts(transaction, verdicts, self._now)
            moved = before ^ _in_force(transaction, ids)
            self._judge_again(transaction, _earliest(moved))
        self._changed(moved)

    def note_lookups(self, answers: Sequence[DailyAnswer], jumps: Mapping[str, tuple[date, date]]) -> None:
        """Note what vendors said of jumps; one of which another vendor knows no split is a move of the price."""
        lookups: list[dict[str, object]] = [
            {
                "instrument_id": self._instruments[symbol].instrument_id,
                "first": jumps[symbol][0],
                "last": jumps[symbol][1],
                "vendor": answer.vendor,
                "splits": [s.ex_date for s in answer.splits if s.symbol == symbol],
            }
            for answer in answers
            for symbol in answer.splits_told
            if symbol in jumps and symbol in self._instruments
        ]
        if lookups:
            with self._warehouse.arrow() as transaction:
                self._begin(transaction)
                actions.note_lookups(transaction, lookups, self._now)
                since = {self._instruments[s].instrument_id: first for s, (first, _) in jumps.items()}
                self._judge_again(transaction, since)

    def settle(self, also: Sequence[int] = ()) -> dict[str, int]:
        """Decide on every split of which something new is known, and on all of the instruments `also`; return reason ->
        how many were decided so.
        """
        with self._warehouse.arrow() as transaction:
            self._begin(transaction)
            due = set(actions.unsettled(transaction, self._now, AROUND))
            if also:
                due |= set(actions.split_claims(transaction, also)["action_id"].to_pylist())
            if not due:
                return {}
            known = actions.split_claims(transaction)
            place = np.isin(known["action_id"].to_numpy(), list(due))
            ids = np.unique(known["instrument_id"].to_numpy()[place]).astype(np.int32)
            rows = known.filter(pa.array(np.isin(known["instrument_id"].to_numpy(), ids))).to_pylist()
            before = _in_force(transaction, ids)
            counts = self._decide(transaction, rows, due, ids)
            moved = before ^ _in_force(transaction, ids)
            self._judge_again(transaction, _earliest(moved))
        self._changed(moved)
        return counts

    def _changed(self, moved: set[tuple[int, date, Fraction]]) -> None:
        for instrument_id, ex_date, _ in moved:
            self.changed[instrument_id].add(ex_date)

    def _begin(self, transaction: ArrowTransaction) -> None:
        transaction.lock("bars_1d")
        self._now = tables.learned_at(transaction, "bars", self._now)

    # --- within a transaction -----------------------------------------------------------------------------------------

    def _withdraw(self, transaction: ArrowTransaction, rows: Sequence[Mapping[str, object]]) -> None:
        if not rows:
            return
        actions.withdraw(transaction, [int(str(row["action_id"])) for row in rows], self._now)
        since: dict[int, date] = {}
        for row in rows:
            instrument_id, ex_date = row["instrument_id"], row["ex_date"]
            assert isinstance(instrument_id, int)
            assert isinstance(ex_date, date)
            since[instrument_id] = min(ex_date, since.get(instrument_id, ex_date))
            log.warning("%s: the split of %s is withdrawn (%s)", self._named(instrument_id), ex_date, row["vendor"])
        self._judge_again(transaction, since)

    def _decide(
        self, transaction: ArrowTransaction, rows: Sequence[Mapping[str, object]], due: set[int], ids: Ints
    ) -> dict[str, int]:
        moves = self._moves(transaction, rows, ids)
        counts: dict[str, int] = defaultdict(int)
        verdicts: list[dict[str, object]] = []
        shown: list[dict[str, object]] = []
        gone: list[int] = []
        for instrument_id in ids.tolist():
            own = [r for r in rows if r["instrument_id"] == instrument_id and r["reason"] != WITHDRAWN_BY_HAND]
            claims = [_claim(row) for row in own]
            derived = {c for c in claims if c.vendor == PRICES}
            for event in events(c for c in claims if c.vendor != PRICES):
                near = {d for d in derived if any(abs(d.ex_date - c.ex_date) <= AROUND for c in event)}
                derived -= near
                if not due & {c.action_id for c in (*event, *near)}:
                    continue
                window = event[0].ex_date - AROUND, event[-1].ex_date + AROUND
                decision = decide(event, [m for m in moves[instrument_id] if window[0] <= m.session <= window[1]])
                verdicts += _written(decision)
                for verdict in decision.verdicts:
                    counts[verdict.reason] += 1
                    if not verdict.in_force:
                        self._tell(instrument_id, verdict.claim, verdict.reason)
                stands = {d for d in near if (d.ex_date, d.ratio) == decision.moved}
                gone += [d.action_id for d in near - stands]
                verdicts += [_stands(d, event) for d in stands]
                if decision.moved and not stands:
                    shown.append(_shown(instrument_id, *decision.moved, self._now))
            gone += [d.action_id for d in derived if d.action_id in due]  # whose event was taken back
        actions.withdraw(transaction, gone, self._now)
        actions.write_actions(transaction, shown)
        new = set() if not shown else {row["instrument_id"] for row in shown}
        for row in actions.split_claims(transaction, sorted(int(str(i)) for i in new)).to_pylist() if new else ():
            if row["vendor"] == PRICES and row["in_force"] is None:
                verdicts.append(_stands(_claim(row), ()))
        actions.write_verdicts(transaction, verdicts, self._now)
        return dict(counts)

    def _moves(
        self, transaction: ArrowTransaction, rows: Sequence[Mapping[str, object]], ids: Ints
    ) -> dict[int, list[Move]]:
        """Return the moves of each instrument from before its first to after its last ex-date."""
        days: dict[int, list[date]] = defaultdict(list)
        for row in rows:
            days[int(str(row["instrument_id"]))].append(date.fromisoformat(str(row["ex_date"])))
        first = np.array([min(days[i]) - AROUND for i in ids.tolist()], "datetime64[D]")
        last = np.array([max(days[i]) + AROUND for i in ids.tolist()], "datetime64[D]")
        found = tables.read_neighbourhood(transaction, ids, first, last, around=1)
        usable = found["quality_score"] >= rules.USABLE_QUALITY
        found = {name: column[usable] for name, column in found.items()}
        self._as_came(found, ids)
        quoted = quoted_on(found["session"], found["source_id"], tables.sources(self._warehouse))
        ends = np.searchsorted(found["instrument_id"], [ids, ids + 1])
        return {
            instrument_id: moves_of(
                found["session"][start:end].tolist(),
                quoted[start:end].tolist(),
                found["open"][start:end].tolist(),
                found["close"][start:end].tolist(),
            )
            for instrument_id, start, end in zip(ids.tolist(), *ends.tolist(), strict=True)
        }

    def _as_came(self, found: Columns, ids: Ints) -> None:
        """Put the prices as they came in the place of those that were put into other shares.

        Such a repair rests on the very splits that are judged here: it would bear out whatever was believed first.
        """
        keys = zip(found["instrument_id"].tolist(), found["session"].tolist(), strict=True)
        place = {key: n for n, key in enumerate(keys)}
        mended = repairs.find(self._warehouse, rule=SPLIT_UNIT.name, state="applied", instrument_ids=ids.tolist())
        for repair in mended:
            at = place.get((repair.instrument_id, repair.session))
            if at is None or repair.by_hand or found["close"][at] != repair.repaired[3]:
                continue
            for name, number in (("open", repair.original[0]), ("close", repair.original[3])):
                assert number is not None  # other shares are no missing number
                found[name][at] = number

    def _judge_again(self, transaction: ArrowTransaction, since: Mapping[int, date]) -> None:
        """Score the stored bars of instruments anew from a day on, and note that their history is due from there."""
        if not since:
            return
        mark_due(transaction, since)
        ids = np.array(sorted(since), np.int32)
        first: Dates = np.array([since[i] for i in ids.tolist()], "datetime64[D]")
        stored = tables.read_neighbourhood(transaction, ids, first, np.full(len(ids), _END), around=rules.CONTEXT_BARS)
        # What is not proved yet is no context either.
        proved = stored["quality_score"] > 0
        stored = {name: column[proved] for name, column in stored.items()}
        if not len(stored["session"]):
            return
        own = np.searchsorted(ids, stored["instrument_id"])
        table = split_table(actions.read_splits(transaction))
        unit = stored_units(
            table, stored["instrument_id"], stored["session"], stored["source_id"], tables.sources(self._warehouse)
        )
        judged = stored["session"] >= first[own]
        verdict = rules.validate(
            rules.BarRows(
                instrument_index=own.astype(np.int32),
                session=stored["session"],
                **{name: stored[name] for name in tables.PRICES},
                unit=unit,
                is_new=judged,
                without_volume=np.isin(ids, self._indices),
                believed=Believed.read(transaction).among(stored["instrument_id"], stored["session"]),
            ),
            self._calendar,
            self._thresholds,
        )
        changed = judged & ~verdict.rejected
        changed &= np.any([getattr(verdict, name) != stored[name] for name in tables.VERDICT], axis=0)
        tables.write_daily(transaction, _rescored(stored, verdict, changed), self._now, reason="rescored")

    def _tell(self, instrument_id: int, claim: Claim, reason: str) -> None:
        log.warning(
            "%s: the split %s of %s that %s names does not count: %s",
            self._named(instrument_id), claim.ratio, claim.ex_date, claim.vendor, reason,
        )  # fmt: skip

    def _named(self, instrument_id: int) -> str:
        return self._symbols.get(instrument_id, f"instrument {instrument_id}")


def held_jumps(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return the bars that opened as by a split that nobody names and that no other vendor was asked about.

    Each with symbol, session, vendor and open_by_close_before, the newest first.
    """
    gaps = audit.unproved_gaps(warehouse)
    return [gap for gap in gaps if looks_like_a_split(math.log(gap["open_by_close_before"]))]


def _claim(row: Mapping[str, object]) -> Claim:
    ratio = Fraction(int(str(row["numerator"])), int(str(row["denominator"])))
    ex_date = row["ex_date"]
    assert isinstance(ex_date, date)
    return Claim(int(str(row["action_id"])), str(row["vendor"]), ex_date, ratio)


def _in_force(transaction: ArrowTransaction, ids: Ints) -> set[tuple[int, date, Fraction]]:
    found = actions.read_splits(transaction)
    found = found.filter(pa.array(np.isin(found["instrument_id"].to_numpy(), ids)))
    return {
        (row["instrument_id"], row["ex_date"], Fraction(row["numerator"], row["denominator"]))
        for row in found.to_pylist()
    }


def _earliest(splits: set[tuple[int, date, Fraction]]) -> dict[int, date]:
    """Return instrument_id -> its first ex-date among them."""
    since: dict[int, date] = {}
    for instrument_id, ex_date, _ in splits:
        since[instrument_id] = min(ex_date, since.get(instrument_id, ex_date))
    return since


def _written(decision: Decision) -> list[dict[str, object]]:
    return [
        {
            "action_id": verdict.claim.action_id,
            "in_force": verdict.in_force,
            "reason": verdict.reason,
            "rivals": list(verdict.rivals),
            "evidence": json.dumps(verdict.evidence),
        }
        for verdict in decision.verdicts
    ]


def _stands(claim: Claim, event: Sequence[Claim]) -> dict[str, object]:
    rivals = [c.action_id for c in event]
    return {"action_id": claim.action_id, "in_force": True, "reason": SHOWN, "rivals": rivals, "evidence": "{}"}


def _shown(instrument_id: int, ex_date: date, ratio: Fraction, now: datetime) -> dict[str, object]:
    return {
        "instrument_id": instrument_id,
        "kind": "split",
        "ex_date": ex_date,
        "numerator": ratio.numerator,
        "denominator": ratio.denominator,
        "vendor": PRICES,
        "as_of": now,
    }


def _rescored(stored: Columns, verdict: rules.Verdict, keep: np.ndarray) -> pa.Table:
    columns = {name: pa.array(stored[name][keep]) for name in ("instrument_id", *tables.PRICES, "source_id")}
    columns["session"] = pa.array(stored["session"][keep], pa.date32())
    columns |= {name: pa.array(getattr(verdict, name)[keep]) for name in tables.VERDICT}
    return pa.table(columns)

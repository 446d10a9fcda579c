"""Settle which cash dividends count where vendors tell them differently, once the bars around them are stored."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np

from quantmatrix_pipeline.bars import rules
from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline.bars.dividend_evidence import Judgement, Word, decide
from quantmatrix_pipeline.bars.split_evidence import WITHDRAWN_BY_HAND, Move, events, moves_of
from quantmatrix_pipeline.warehouse import actions
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse.engine import ArrowTransaction, Warehouse

log = logging.getLogger(__name__)

AROUND = timedelta(days=14)

Row = Mapping[str, Any]


def settle_dividends(warehouse: Warehouse, now: datetime) -> dict[str, int]:
    """Decide on every dividend that several vendors tell and of which something new is known.

    The caller holds the exclusive lock `bars_1d`; may be repeated. Nothing that is computed hangs on it but the total
    return, which is derived when it is read.

    Returns
    -------
    reason -> how many words were decided so.
    """
    counts: dict[str, int] = defaultdict(int)
    with warehouse.arrow() as transaction:
        rows = actions.contested_dividends(transaction).to_pylist()
        if not rows:
            return {}
        transaction.lock("bars_1d")
        moment = tables.learned_at(transaction, "bars", now)
        known = {row["action_id"]: (row["in_force"], row["reason"], row["rivals"]) for row in rows}
        verdicts: list[dict[str, object]] = []
        due = _due(rows)
        splits = actions.read_splits(transaction).to_pylist() if due else []
        for instrument_id, event in due:
            split_on = {s["ex_date"] for s in splits if s["instrument_id"] == instrument_id}
            for judgement in decide(event, *_moves(transaction, warehouse, instrument_id, event, split_on)):
                counts[judgement.reason] += 1
                new = [v for v in _written(judgement, event) if known[v["action_id"]] != _content(v)]
                if new and not judgement.in_force:
                    _tell(instrument_id, judgement)
                verdicts += new
        actions.write_verdicts(transaction, verdicts, moment)
    return dict(counts)


def _due(rows: Sequence[Row]) -> list[tuple[int, list[Word]]]:
    """Return instrument and words of the events of which something is new.

    New is an action that nothing was decided on beside these rivals, or a bar nearby. What one vendor alone names has
    nothing to decide, unless it was ruled out for the sake of one that has been taken back.
    """
    found = []
    by_instrument: dict[int, list[Row]] = defaultdict(list)
    for row in (r for r in rows if r["reason"] != WITHDRAWN_BY_HAND):
        by_instrument[row["instrument_id"]].append(row)
    for instrument_id, own in by_instrument.items():
        decided = {row["action_id"]: row for row in own}
        for event in events(_words(own)):
            ids = {action for word in event for action in word.action_ids}
            settled = all(
                decided[a]["rivals"] is not None and {a, *decided[a]["rivals"]} == ids and not decided[a]["new_bars"]
                for a in ids
            )
            alone = len({word.vendor for word in event}) == 1
            if not settled and not (alone and all(decided[a]["in_force"] in (None, True) for a in ids)):
                found.append((instrument_id, event))
    return found


def _words(rows: Sequence[Row]) -> list[Word]:
    """Return what each vendor names for a day as one: a special dividend beside the regular one is part of it."""
    parts: dict[tuple[str, date, str], list[Row]] = defaultdict(list)
    for row in rows:
        parts[row["vendor"], row["ex_date"], row["currency"]].append(row)
    return [
        Word(*key[:2], sum(row["amount"] for row in of), key[2], tuple(row["action_id"] for row in of), of[0]["own"])
        for key, of in parts.items()
    ]


def _moves(
    transaction: ArrowTransaction, warehouse: Warehouse, instrument_id: int, event: Sequence[Word], split_on: set[date]
) -> tuple[list[Move], dict[date, float]]:
    """Return the moves around an event between bars as traded, but for those over a split, and where each starts."""
    first, last = (np.array([day], "datetime64[D]") for day in (event[0].ex_date - AROUND, event[-1].ex_date + AROUND))
    found = tables.read_neighbourhood(transaction, np.array([instrument_id], np.int32), first, last, around=1)
    raw = [number for number, (_, basis, _) in tables.sources(warehouse).items() if basis == Basis.RAW]
    usable = (found["quality_score"] >= rules.USABLE_QUALITY) & np.isin(found["source_id"], raw)
    session, opened, close = (found[name][usable].tolist() for name in ("session", "open", "close"))
    moves = [m for m in moves_of(session, session, opened, close) if not any(m.spans(day) for day in split_on)]
    return moves, {session[k]: close[i] for i, k in pairwise(range(len(session)))}


def _content(verdict: Row) -> tuple[object, ...]:
    return verdict["in_force"], verdict["reason"], verdict["rivals"]


def _written(judgement: Judgement, event: Sequence[Word]) -> list[dict[str, Any]]:
    everyone = sorted(action for word in event for action in word.action_ids)
    return [
        {
            "action_id": action,
            "in_force": judgement.in_force,
            "reason": judgement.reason,
            "rivals": [other for other in everyone if other != action],
            "evidence": json.dumps(judgement.evidence),
        }
        for action in judgement.word.action_ids
    ]


def _tell(instrument_id: int, judgement: Judgement) -> None:
    word = judgement.word
    log.warning(
        "instrument %d: the dividend of %g %s on %s that %s names does not count: %s",
        instrument_id, word.amount, word.currency, word.ex_date, word.vendor, judgement.reason,
    )  # fmt: skip

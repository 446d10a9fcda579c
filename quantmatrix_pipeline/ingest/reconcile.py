"""A night's reconciliation: a sample of the session's bars, and the flagged ones, as a second vendor has them.

Both candidates are kept with the fields in which they differ, the cause and the verdict (`bars.reconcile`). Nothing
that is stored changes by it; a bar that is believed more is suggested as a repair. What a vendor is contradicted in
counts in its health.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime

import numpy as np

from quantmatrix_pipeline.bars.batch import FIELDS
from quantmatrix_pipeline.bars.reconcile.causes import Cause
from quantmatrix_pipeline.bars.reconcile.classify import DEFAULT_LIMITS, Limits
from quantmatrix_pipeline.bars.reconcile.pair import VOLUME
from quantmatrix_pipeline.bars.reconcile.verdict import Verdict
from quantmatrix_pipeline.bars.repair.catalogue import SECOND_OPINION
from quantmatrix_pipeline.bars.repair.finding import in_order
from quantmatrix_pipeline.bars.stored import split_table
from quantmatrix_pipeline.ingest.opinions import (
    THIRD,
    Key,
    Row,
    Stored,
    absent_rows,
    doubtful,
    opinion_of,
    rows_of,
    settle,
)
from quantmatrix_pipeline.providers.routing.router import Router
from quantmatrix_pipeline.providers.routing.second import second_opinions
from quantmatrix_pipeline.warehouse import actions, reconciliation, repairs
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse.engine import Warehouse

CONFIRMED, DOUBTED = 0.8, 0.6  # how sure a suggestion is, with a third vendor and without
AROUND = 10  # stored bars on either side: they tell a bad bar from a factor that holds for long, and cost no call
SAMPLE, FLAGGED = "sample", "flagged"
NO_VENDORS = "the source of bars is no vendor that could be doubted by another"


@dataclass(slots=True)
class Reconciled:
    """What a night's reconciliation came to; `rows` are those of `bar_comparisons`, `skipped` why nobody was asked."""

    sampled: int = 0
    flagged: int = 0
    unasked: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    rows: list[Row] = field(default_factory=list)
    skipped: str | None = None
    seconds: float = 0.0

    @property
    def compared(self) -> int:
        """Bars that a second vendor has."""
        return sum(n for said, n in self.verdicts.items() if said != Verdict.ABSENT)

    @property
    def contradicted(self) -> int:
        """Bars of which two vendors say things that can't both be right."""
        return sum(self.verdicts[said] for said in (Verdict.STORED, Verdict.SECOND, Verdict.OPEN))


def reconcile(
    warehouse: Warehouse,
    router: Router | None,
    session: date,
    *,
    sample: int,
    flagged: int,
    share: float,
    now: datetime,
    limits: Limits = DEFAULT_LIMITS,
) -> Reconciled:
    """Compare bars with a second vendor's, and keep what was found.

    Parameters
    ----------
    router
        The vendors; without any nobody is asked.
    session
        Of which the sample is drawn, and up to which flagged bars are asked about, inclusive.
    sample
        How many bars.
    flagged
        Of how many instruments flagged bars are asked about, those not asked about before.
    share
        The part of a vendor's calls left of today that this may use.
    """
    started = time.perf_counter()
    done = Reconciled()
    if router is None:
        done.skipped = NO_VENDORS
        return done
    stored = _chosen(warehouse, session, sample, flagged, done)
    if stored.wanted:
        asyncio.run(_compare(router, stored, session, share, limits, done))
        reconciliation.write(warehouse, done.rows, now)
        _suggest(warehouse, done.rows, now)
    done.seconds = time.perf_counter() - started
    return done


def _chosen(warehouse: Warehouse, session: date, sample: int, flagged: int, done: Reconciled) -> Stored:
    drawn = reconciliation.sample(warehouse, session, sample) if sample else []
    doubtful = reconciliation.flagged(warehouse, session, flagged) if flagged else []
    wanted = {(bar.instrument_id, bar.session): SAMPLE for bar in drawn}
    wanted |= {(bar.instrument_id, bar.session): FLAGGED for bar in doubtful}
    count = Counter(wanted.values())
    done.sampled, done.flagged = count[SAMPLE], count[FLAGGED]
    days: dict[int, list[date]] = defaultdict(list)
    for number, day in wanted:
        days[number].append(day)
    ids = np.array(sorted(days), np.int32)
    with warehouse.arrow() as transaction:
        bars = tables.read_neighbourhood(
            transaction,
            ids,
            np.array([min(days[i]) for i in ids.tolist()], "datetime64[D]"),
            np.array([max(days[i]) for i in ids.tolist()], "datetime64[D]"),
            around=AROUND,
        )
        splits = split_table(actions.read_splits(transaction))
    proved = (bars["quality_score"] > tables.UNPROVED) & (bars["session"] <= np.datetime64(session, "D"))
    bars = {name: column[proved] for name, column in bars.items()}
    symbols = {bar.symbol: bar.instrument_id for bar in (*drawn, *doubtful)}
    return Stored(bars, tables.sources(warehouse), splits, wanted, symbols)


async def _compare(
    router: Router, stored: Stored, session: date, share: float, limits: Limits, done: Reconciled
) -> None:
    async with router:
        said = await second_opinions(router, stored.questions(dict.fromkeys(stored.ids.values(), frozenset())), share)
        rows: dict[Key, Row] = {}
        for answer in said.answers:
            rows |= rows_of(stored, opinion_of(stored, answer, limits), session, limits)
        rows |= absent_rows(stored, said.absent, said.answers, rows, session)
        contested = {key[0]: frozenset({rows[key]["second_vendor"]}) for key in rows if doubtful(rows[key])}
        third = await second_opinions(router, stored.questions(contested), share) if contested else None
        for answer in third.answers if third else ():
            done.rows += settle(stored, rows, opinion_of(stored, answer, limits), session, limits)
        done.rows += rows.values()
        done.unasked = len(stored.wanted) - len(rows)
        done.verdicts.update(row["verdict"] for row in rows.values())
        done.causes.update(row["cause"] for row in rows.values() if row["cause"] != Cause.NONE)
        _tell_health(router, stored, session, rows.values())


def _suggest(warehouse: Warehouse, rows: Iterable[Row], now: datetime) -> None:
    """Suggest the second vendor's bar as a repair where that one is believed; a person carries it out, or doesn't."""
    suggested = [
        {
            "instrument_id": row["instrument_id"],
            "session": row["session"],
            "rule": SECOND_OPINION.name,
            "confidence": CONFIRMED if "third_vendor" in row else DOUBTED,
            "applied": False,
            "source_id": row["source_id"],
            **{f"original_{name}": x for name, x in zip(FIELDS, row["stored_bar"], strict=True)},
            **{f"repaired_{name}": x for name, x in zip(FIELDS, row["second_bar"], strict=True)},
            "evidence": json.dumps(
                {
                    "second_vendor": row["second_vendor"],
                    "third_vendor": row.get("third_vendor"),
                    "cause": row["cause"],
                    "fields": [difference["field"] for difference in row["differences"]],
                }
            ),
            "found_at": now,
        }
        for row in rows
        if row["verdict"] == Verdict.SECOND
        and row["asked_because"] != THIRD
        and math.isfinite(row["second_bar"][VOLUME])
        and in_order(tuple(row["second_bar"][:VOLUME]))
    ]
    if suggested:
        with warehouse.arrow() as transaction:
            repairs.write_repairs(transaction, suggested)


def _tell_health(router: Router, stored: Stored, session: date, rows: Iterable[Row]) -> None:
    """Let each vendor's health know how many of its bars were compared, and how many of them stand."""
    compared: Counter[str] = Counter()
    confirmed: Counter[str] = Counter()
    for row in rows:
        if row["verdict"] != Verdict.ABSENT:
            for vendor in (stored.sources[row["source_id"]][0], row["second_vendor"]):
                compared[vendor] += 1
                confirmed[vendor] += vendor not in row["against"]
    for vendor in compared.keys() & set(router.vendors):
        router.states.compared(vendor, session, confirmed[vendor], compared[vendor])

"""Whatever comes in whatever order: what was known at a moment stays what it was, and no bar is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.warehouse.engine import ArrowTransaction, Warehouse
from quantmatrix_pipeline_tests.market_nights import DAYS, SYMBOLS, Key, Market, split

T0 = datetime(2022, 1, 3, 22, tzinfo=UTC)
EMPTY = "TRUNCATE price_data, price_data_revisions, history_due, ingestion_cursor, validation_log, knowledge_clock"


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


some = settings(
    max_examples=12,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
keys = st.tuples(st.integers(0, len(SYMBOLS) - 1), st.integers(0, len(DAYS) - 1))
fetched = st.dictionaries(keys, st.sampled_from([1.0, 1.0 + 2e-7, 1.001, 1.2]), min_size=1, max_size=25)
events = st.one_of(
    st.tuples(st.just("fetch"), fetched),
    st.tuples(st.just("another vendor"), fetched),
    st.tuples(st.just("killed"), fetched, st.integers(1, 12)),
    st.tuples(st.just("split"), st.builds(split, st.integers(0, 2), st.integers(1, 20), st.sampled_from([2, 3]))),
    st.tuples(st.just("record"), st.integers(0, len(DAYS) - 1)),
    st.tuples(st.just("clock back")),
)


class Killed(BaseException):
    """The writer's end, at a statement."""


def dies_at(patch: pytest.MonkeyPatch, statement: int) -> None:
    """Let the process that writes columns end before its n-th statement from now."""
    left = [statement]
    for name in ("execute", "query", "append"):
        plain = getattr(ArrowTransaction, name)

        def counted(self, *args, plain=plain):  # type: ignore[no-untyped-def]
            left[0] -= 1
            if left[0] < 1:
                raise Killed
            return plain(self, *args)

        patch.setattr(ArrowTransaction, name, counted)


@given(sequence=st.lists(events, min_size=3, max_size=9))
@some
def test_what_was_known_at_a_moment_never_changes_once_it_was_read(
    warehouse: Warehouse, sequence: list[tuple[object, ...]]
) -> None:
    # What is immutable can't be emptied between examples, so knowledge grows from one to the next: each begins later.
    newest = warehouse.scalar("SELECT max(as_of) FROM knowledge_clock")
    now = max(T0, newest or T0) + timedelta(hours=1)
    market = Market(warehouse)
    said: set[Key] = {(row[0] - 1, row[1]) for row in warehouse.rows("SELECT instrument_id, session FROM price_data")}
    told = {newest: market.known_at(newest)} if newest else {}
    versions = 0
    for event in sequence:
        kind = event[0]
        if kind in ("fetch", "another vendor"):
            market.store(now, event[1], vendor="polygon" if kind == "fetch" else "fmp")  # type: ignore[arg-type]
            said |= {(symbol, DAYS[day].item()) for symbol, day in event[1]}  # type: ignore[misc, attr-defined]
        elif kind == "killed":
            with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
                dies_at(patch, event[2])  # type: ignore[arg-type]
                market.store(now, event[1])  # type: ignore[arg-type]
        elif kind == "split":
            market.store(now, splits=[event[1]])  # type: ignore[list-item]
        elif kind == "record":
            market.record(now, int(event[1]), int(event[1]))  # type: ignore[call-overload]
        else:
            # What comes next is learned after all that is known, whatever the clock says. No whole part of the hours:
            # two nights at one and the same instant are one moment, as a run's own steps are.
            now -= timedelta(minutes=97)
            continue
        if moment := warehouse.scalar("SELECT max(as_of) FROM knowledge_clock"):
            told.setdefault(moment, market.known_at(moment))
        kept = {(row[0] - 1, row[1]) for row in warehouse.rows("SELECT instrument_id, session FROM price_data")}
        assert said <= kept, "no bar that was ever sound is lost"
        count = warehouse.scalar("SELECT count(*) FROM price_data_versions")
        assert count >= versions
        versions = count
        now += timedelta(hours=1)
    for moment, known in told.items():
        assert market.known_at(moment) == known, moment


plain = st.dictionaries(keys, st.just(1.0), min_size=4, max_size=40)


@given(first=plain, second=plain, wrong=st.sets(keys, max_size=4), order=st.randoms(use_true_random=False))
@some
def test_the_same_answers_in_another_order_end_in_the_same_bars(
    warehouse: Warehouse, first: dict[Key, float], second: dict[Key, float], wrong: set[Key], order: Random
) -> None:
    """Answers that don't contradict each other, or that differ within the tolerance; what did, was corrected last."""
    ends = []
    shuffled = [*range(4)]
    order.shuffle(shuffled)
    for sequence in (range(4), shuffled):
        warehouse.execute(f"{EMPTY}, corporate_actions, action_verdicts")
        market = Market(warehouse)
        market.store(T0, dict.fromkeys(wrong, 1.3) or {(0, 0): 1.3})
        acts = (
            lambda at, m=market: m.store(at, first),
            lambda at, m=market: m.store(at, second),
            lambda at, m=market: m.store(at, splits=[split(1, 12, 2)]),
            lambda at, m=market: m.store(at, dict.fromkeys(wrong, 1.0) or {(0, 0): 1.0}),
        )
        for hour, number in enumerate(sequence):
            acts[number](T0 + timedelta(hours=hour + 1))
        ends.append(
            [
                tuple(row)
                for row in warehouse.rows(
                    "SELECT instrument_id, session, open, high, low, close, volume, quality_score, validated,"
                    " gap_detected, volume_anomaly, source_id FROM price_data ORDER BY 1, 2"
                )
            ]
        )
    assert ends[0] == ends[1]

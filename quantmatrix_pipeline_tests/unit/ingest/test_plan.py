"""What is worth asking a source for, decided from masks alone."""

from __future__ import annotations

from datetime import date

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.ingest.plan import missing_sessions
from quantmatrix_pipeline.warehouse.universe import Tracked

WINDOW = np.array(["2021-12-27", "2021-12-28", "2021-12-29", "2021-12-30", "2021-12-31"], "datetime64[D]")


def tracked(instrument_id: int, delisted_on: date | None = None) -> Tracked:
    return Tracked(instrument_id, f"S{instrument_id}", "stock", "XNYS", date(2021, 1, 4), ("index:SP500",), delisted_on)


def missing(
    instruments: list[Tracked],
    have: list[tuple[int, int]],
    empty: dict[int, tuple[date, date]] | None = None,
) -> list[list[int]]:
    """Return, per instrument, the positions in WINDOW that are asked for; `have` is (instrument, position)."""
    ids = np.array([i for i, _ in have], np.int32)
    sessions = WINDOW[[at for _, at in have]] if have else np.empty(0, "datetime64[D]")
    mask = missing_sessions(WINDOW, instruments, ids, sessions, empty=[empty or {}])
    return [np.flatnonzero(row).tolist() for row in mask]


def test_what_is_stored_is_not_asked_for_and_a_hole_is() -> None:
    assert missing([tracked(7), tracked(3)], [(3, 0), (3, 1), (3, 3), (3, 4)]) == [[0, 1, 2, 3, 4], [2]]


def test_the_stretch_in_which_a_source_has_nothing_is_left_out_up_to_its_first_bar() -> None:
    empty = {1: (date(2021, 12, 28), date(2021, 12, 30))}
    assert missing([tracked(1)], [], empty) == [[0, 3, 4]]


def test_nothing_is_asked_for_from_the_day_of_a_delisting_on() -> None:
    assert missing([tracked(1, date(2021, 12, 29))], []) == [[0, 1]]
    assert missing([tracked(1, date(2021, 1, 4))], []) == [[]]


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=8, unique=True),
    st.sets(st.tuples(st.integers(0, 7), st.integers(0, 4))),
)
def test_without_known_stretches_what_is_asked_for_is_the_complement_of_what_is_stored(
    ids: list[int], stored: set[tuple[int, int]]
) -> None:
    instruments = [tracked(i) for i in ids]
    have = sorted((ids[row], at) for row, at in stored if row < len(ids))
    found = missing(instruments, have)
    for instrument_id, asked in zip(ids, found, strict=True):
        assert sorted(asked + [at for i, at in have if i == instrument_id]) == [0, 1, 2, 3, 4]

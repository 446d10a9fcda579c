"""What is computed on the bars known at a session is the row that the whole history has there, to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.indicators.benchmark import Benchmark
from quantmatrix_pipeline.indicators.catalogue import COLUMN_INDEX
from quantmatrix_pipeline.indicators.cross_section import CrossSection
from quantmatrix_pipeline.indicators.engine import compute, last_rows
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline_tests.unit.indicators.panels import (
    Floats,
    known_at,
    named_panel,
    ragged_panels,
    real_panel,
    same_bits,
    with_splits,
)


def measured(panel: Panel, against: int | None) -> Panel:
    """The panel against one of its instruments, or against the mean of all."""
    everyone = np.ones(panel.width, np.bool_)
    place = None if against is None else np.flatnonzero(panel.instrument_ids == against)
    if place is None or not len(place):
        return replace(panel, benchmark=Benchmark.of_universe(panel, everyone))
    return replace(panel, benchmark=Benchmark.of_instrument(panel, int(place[0])))


def rows_at(panel: Panel, values: Floats, session: np.datetime64) -> tuple[np.ndarray, Floats]:
    """Who traded on a session, and their rows there."""
    bar, instrument = np.nonzero(panel.session == session)
    order = np.argsort(instrument)
    return panel.instrument_ids[instrument[order]], values[bar[order], :, instrument[order]]


def check(panel: Panel, sessions: list[np.datetime64], against: int | None) -> None:
    values = compute(measured(panel, against))
    for session in sessions:
        ids, expected = rows_at(panel, values, session)
        then = known_at(panel, session)
        if against is not None and against not in then.instrument_ids:
            continue  # its place is taken by the mean until it trades
        then = measured(then, against)
        newest = last_rows(then)[:, np.isin(then.instrument_ids, ids)]
        assert same_bits(newest, expected.T)


@settings(max_examples=20, deadline=None)
@given(ragged_panels(), st.data())
def test_of_drawn_panels_the_row_of_any_session(panel: Panel, data: st.DataObject) -> None:
    sessions = np.unique(panel.session[~np.isnat(panel.session)])
    session = data.draw(st.sampled_from(list(sessions)))
    check(panel, [session], data.draw(st.sampled_from([None, *range(panel.width)])))


@pytest.mark.parametrize("against", [None, 0])
def test_of_real_bars_with_holes_and_splits_the_rows_of_random_sessions(against: int | None) -> None:
    panel = with_splits(real_panel(12, missing=0.01), {3: [(300, 7.0)], 11: [(900, 1.5), (1300, 0.1)]})
    sessions = np.unique(panel.session[~np.isnat(panel.session)])
    check(panel, list(np.random.default_rng(2021).choice(sessions, 4, replace=False)), against)


def test_of_real_bars_the_ranks_of_random_sessions() -> None:
    panel = real_panel(24, missing=0.01)
    panel = replace(panel, sector=np.arange(24, dtype=np.int32) % 4 - 1)
    sessions = np.unique(panel.session[~np.isnat(panel.session)])
    whole = CrossSection.over_sessions(measured(panel, None), sessions[0])
    for session in np.random.default_rng(12).choice(sessions[300:], 4, replace=False):
        then = measured(known_at(panel, session), None)
        there = then.instrument_ids[(then.session == session).any(axis=0)]
        days = np.full(len(there), session)
        newest = CrossSection.of_newest(then)
        for name in ("rs_rank", "perf_252d_rank", "atrp_14_rank", "perf_20d_sector_rank"):
            assert same_bits(newest.at(days, there)(name), whole.at(days, there)(name)), name
            assert not np.isnan(newest.at(days, there)(name)[1:4]).any()


def test_a_split_after_the_session_changes_no_bit_of_its_row() -> None:
    """Apple's fourfold split of August 2020: what was recorded the day before is what is computed after it."""
    panel = named_panel("AAPL", "SPY")
    ex = int(np.searchsorted(panel.session[:, 0], np.datetime64("2020-08-31")))
    split = with_splits(panel, {0: [(ex, 4.0)]})
    before, after = compute(split.cut(ex)), compute(split)
    assert same_bits(after[:ex], before)
    sma = COLUMN_INDEX["sma_20"]
    assert after[ex - 1, sma, 0] / after[ex, sma, 0] == pytest.approx(4.0, rel=0.02), "told in new shares from then on"

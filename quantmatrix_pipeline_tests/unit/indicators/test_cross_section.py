"""Ranks against pandas and a count by hand; the same numbers for one session, for a range and for newest rows."""

from __future__ import annotations

import dataclasses
import math
from datetime import date
from random import Random

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.indicators.benchmark import Benchmark
from quantmatrix_pipeline.indicators.catalogue import RANKED, rank_name
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline.indicators.ranking import twice_ranks
from quantmatrix_pipeline.snapshots import rows as analysis
from quantmatrix_pipeline_tests.unit.indicators.panels import known_at, ragged_panels, real_panel

FIRST = date(2021, 10, 1)


def by_hand(values: list[float], of: float) -> float:
    """The percentile rank of a value among these, itself among them."""
    known = [value for value in values if not math.isnan(value)]
    below, equal = sum(value < of for value in known), sum(value == of for value in known)
    return 100 * (below + (equal + 1) / 2) / len(known)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([math.nan, -1.5, 0.0, -0.0, 0.25, 3.0, 1e9]), min_size=7, max_size=7),
        min_size=1,
        max_size=4,
    )
)
def test_equal_values_share_the_mean_of_their_ranks_and_a_missing_one_has_none(drawn: list[list[float]]) -> None:
    ranks, count = twice_ranks(np.array(drawn), np.zeros((1, 7), np.int64))
    for values, row, n in zip(drawn, ranks[:, 0].tolist(), count[:, 0, 0].tolist(), strict=True):
        for value, twice in zip(values, row, strict=True):
            assert twice == 0 if math.isnan(value) else 50 * twice / n == pytest.approx(by_hand(values, value))


def test_more_values_than_sixteen_bits_hold_twice_are_ranked_as_well() -> None:
    ranks, _ = twice_ranks(np.ascontiguousarray(np.arange(40_000.0)[None, ::-1]), np.zeros((1, 40_000), np.int64))
    assert ranks[0, 0, [0, -1]].tolist() == [80_000, 2]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(allow_nan=True, width=64), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_any_numbers_are_ranked_as_pandas_ranks_them_and_so_are_their_groups(
    values: list[float], random: Random
) -> None:
    """The least differences, the least numbers, both zeros and both infinities are among what is drawn."""
    values = [near for value in values for near in (value, np.nextafter(value, 0.0), -value)]
    random.shuffle(values)
    groups = np.array([[0] * len(values), [random.randrange(-1, 3) for _ in values]])
    ranks, counts = twice_ranks(np.array([values]), groups)
    for group, twice, count in zip(groups, ranks[0], counts[0], strict=True):
        series = pd.Series(values).where(group >= 0)
        assert twice.tolist() == (2 * series.groupby(group).rank()).fillna(0).tolist()
        assert count.tolist() == [int(series[group == number].notna().sum()) for number in range(len(count))]


def measured(width: int = 30) -> Panel:
    panel = real_panel(width, missing=0.01)
    sector = np.arange(width, dtype=np.int32) % 4 - 1  # every fourth has none
    return dataclasses.replace(panel, benchmark=Benchmark.of_instrument(panel, 0), sector=sector)


NULLABLE = {pa.int16(): pd.Int16Dtype(), pa.bool_(): pd.BooleanDtype()}  # else one null row gives all another type


def frame(tables: list[pa.Table]) -> pd.DataFrame:
    rows = pa.concat_tables(tables).to_pandas(types_mapper=NULLABLE.get)
    return rows.sort_values(["session", "instrument_id"], ignore_index=True)


def in_range(panel: Panel, first: date) -> pd.DataFrame:
    return frame(list(analysis.range_rows(panel, first, analysis.ranks(panel, first))))


def test_each_session_is_ranked_as_pandas_ranks_it_in_the_universe_and_in_its_sectors() -> None:
    panel = measured()
    found = in_range(panel, FIRST)
    sector = found["instrument_id"] % 4 - 1
    assert len(found) > 1500
    for ranked in RANKED:
        expected = found.groupby("session")[ranked].rank(pct=True) * 100
        pd.testing.assert_series_equal(found[rank_name(ranked)], expected, check_names=False, rtol=1e-12)
        among = (found.groupby(["session", sector])[ranked].rank(pct=True) * 100).where(sector >= 0)
        pd.testing.assert_series_equal(found[rank_name(ranked, sector=True)], among, check_names=False, rtol=1e-12)
        assert found[rank_name(ranked)].notna().mean() > 0.9


def test_one_session_and_the_newest_rows_have_the_bits_of_the_range() -> None:
    panel = measured()
    whole = in_range(panel, FIRST)
    last = whole["session"].max()
    one = frame([analysis.session_rows(panel, last, analysis.ranks(panel, last, last))])
    pd.testing.assert_frame_equal(one, whole[whole["session"] == last].reset_index(drop=True), check_exact=True)
    newest = frame([analysis.newest_rows(panel)])
    expected = whole.loc[whole.groupby("instrument_id")["session"].idxmax()]
    expected = expected.sort_values(["session", "instrument_id"], ignore_index=True)
    pd.testing.assert_frame_equal(newest, expected, check_exact=True)


def test_who_stopped_trading_is_ranked_among_those_that_traded_with_it() -> None:
    panel = measured(12)
    length, close, session = panel.length.copy(), panel.close.copy(), panel.session.copy()
    length[5] -= 100
    close[length[5] :, 5] = np.nan
    session[length[5] :, 5] = np.datetime64("NaT")
    panel = dataclasses.replace(panel, close=close, session=session, length=length)
    newest = analysis.newest_rows(panel).to_pandas().set_index("instrument_id")
    day = newest.loc[5, "session"]
    assert day < newest["session"].max()
    same_day = in_range(panel, day).query("session == @day")
    assert len(same_day) > 6
    value = newest.loc[5, "perf_60d"]
    assert newest.loc[5, "perf_60d_rank"] == pytest.approx(by_hand(same_day["perf_60d"].tolist(), value))


def test_a_part_of_the_panel_takes_its_ranks_from_the_whole() -> None:
    panel = measured(12)
    ranks = analysis.ranks(panel, FIRST)
    part = frame(list(analysis.range_rows(panel.select(np.array([2, 7, 9])), FIRST, ranks)))
    whole = in_range(panel, FIRST)
    pd.testing.assert_frame_equal(
        part, whole[whole["instrument_id"].isin([2, 7, 9])].reset_index(drop=True), check_exact=True
    )


@settings(max_examples=15, deadline=None)
@given(ragged_panels(most_bars=120), st.data())
def test_later_sessions_change_no_rank(panel: Panel, data: st.DataObject) -> None:
    sessions = np.unique(panel.session[~np.isnat(panel.session)])
    last = data.draw(st.sampled_from(sessions.tolist()))
    earlier = known_at(panel, np.datetime64(last))
    whole = in_range(panel, sessions[0].item())
    # A column of whole numbers is one of floats as soon as one of them is missing.
    pd.testing.assert_frame_equal(
        in_range(earlier, sessions[0].item()),
        whole[whole["session"] <= last].reset_index(drop=True),
        check_exact=True,
        check_dtype=False,
    )
    there = frame([analysis.session_rows(earlier, last, analysis.ranks(earlier, last, last))])
    pd.testing.assert_frame_equal(
        there, whole[whole["session"] == last].reset_index(drop=True), check_exact=True, check_dtype=False
    )

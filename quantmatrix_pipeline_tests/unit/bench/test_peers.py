"""Every peer of the benchmark computes what the engine computes: otherwise their times say nothing about each other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from quantmatrix_pipeline.bench import indicators, peers
from quantmatrix_pipeline.bench.synthetic import synthetic_bars
from quantmatrix_pipeline.indicators.catalogue import COLUMN_INDEX, LOOKBACK
from quantmatrix_pipeline.indicators.engine import compute

BARS = 700
BEGUN_OTHERWISE = {"pandas-ta-classic": ("macd", "macd_signal", "macd_histogram")}  # what is left of it fades away


@pytest.mark.parametrize("name", peers.PEERS)
def test_a_peer_has_the_core_columns_of_the_engine(name: str) -> None:
    panel = synthetic_bars(3, BARS, shortest_life=BARS, hole_share=0.0).panel()
    panel = dataclasses.replace(panel, unit=np.ones_like(panel.unit))
    task = peers.prepared(name, panel)
    if task is None:
        pytest.skip(f"{name} is not installed")
    values, expected = task(), compute(panel, indicators.CORE_COLUMNS)[:, :, -1].T
    assert set(indicators.CORE_COLUMNS) <= set(values)
    for column, own in zip(indicators.CORE_COLUMNS, expected, strict=True):
        first = 400 if column in BEGUN_OTHERWISE.get(name, ()) else LOOKBACK[COLUMN_INDEX[column]]
        np.testing.assert_allclose(values[column][first:], own[first:], rtol=1e-9, atol=1e-9, err_msg=column)


def test_the_core_is_thirty_columns() -> None:
    assert len(set(indicators.CORE_COLUMNS)) == len(indicators.CORE_COLUMNS) == 30


def test_a_peer_that_is_not_installed_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PEERS", {"nobody": (peers.PEERS["pandas"][0], ("no_such_library",))})
    panel = synthetic_bars(3, 10, shortest_life=10, hole_share=0.0).panel()
    assert peers.prepared("nobody", panel) is None


def test_every_requirement_is_printed_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indicators, "LARGE", (4, 300))
    monkeypatch.setattr(indicators, "SMALL", ((3, 300),))
    monkeypatch.setattr(indicators, "NIGHTLY", (3, 300))
    monkeypatch.setattr(indicators, "PEERS", {"TA-Lib loop": peers.PEERS["TA-Lib loop"]})
    rows = indicators.run(1)
    assert [row.requirement for row in rows if row.requirement] == [
        ">= 2.0x as fast, aim 4x",
        "<= 8, aim 4",
        "<= 0.15 of the output",
        "<= 6, aim 3",
        "engine faster, aim 5x",
        "<= 0.5 s, aim 0.2",
    ]

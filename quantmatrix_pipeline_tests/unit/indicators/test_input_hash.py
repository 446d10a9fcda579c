"""The hash of a row's inputs, against a literal one bar by bar: any bit of an input changes it, the company doesn't."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.bench.synthetic import synthetic_bars
from quantmatrix_pipeline.indicators.input_hash import input_hashes
from quantmatrix_pipeline.indicators.panel import PRICES, Panel

WORD = 2**64
FIELDS = (*PRICES, "volume", "unit")


def panel(seed: int = 3, instruments: int = 5) -> Panel:
    return synthetic_bars(instruments, 40, shortest_life=2, seed=seed).panel()


def mix(x: int) -> int:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % WORD
    return x ^ (x >> 31)


def literal(bars: Panel, instrument: int) -> list[int]:
    """Return the hashes of one instrument in whole numbers."""
    total, found = 0, []
    for k in range(int(bars.length[instrument])):
        cell = mix(int(bars.session[k, instrument].astype(int)) % WORD)
        for name in FIELDS:
            (bits,) = struct.unpack("<Q", struct.pack("<d", getattr(bars, name)[k, instrument]))
            cell = mix(cell ^ bits)
        total = (total + cell * pow(0x9E3779B97F4A7C15, k, WORD)) % WORD
        found.append(mix(total))
    return found


def test_it_is_the_literal_hash_of_each_instruments_bars() -> None:
    bars = panel()
    found = input_hashes(bars)
    for instrument in range(bars.width):
        own = found[: bars.length[instrument], instrument]
        assert own.tolist() == literal(bars, instrument)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    name=st.sampled_from(["session", *FIELDS]),
    at=st.floats(0, 0.999),
    bit=st.integers(0, 62),
)
def test_one_bit_of_one_input_changes_every_hash_from_there_on_and_none_before(
    seed: int, name: str, at: float, bit: int
) -> None:
    bars = panel(seed)
    longest = int(bars.length.argmax())
    row = int(at * bars.length[longest])
    changed = getattr(bars, name).copy()
    changed.view(np.int64)[row, longest] ^= np.int64(1 << bit)
    before, after = input_hashes(bars), input_hashes(replace(bars, **{name: changed}))
    differs = before != after
    assert differs[row : bars.length[longest], longest].all()
    differs[row:, longest] = False
    assert not differs.any()


def test_a_hash_depends_on_nothing_but_the_bars_up_to_it() -> None:
    bars = panel(8, instruments=130)  # more than are taken at once
    whole = input_hashes(bars)
    assert (input_hashes(bars.cut(20)) == whole[:20])[~np.isnat(bars.session[:20])].all()
    picked = np.array([129, 4, 70])
    assert (input_hashes(bars.select(picked)) == whole[:, picked])[~np.isnat(bars.session[:, picked])].all()


@pytest.mark.parametrize("swap", [(0, 1), (10, 30)])
def test_the_same_bars_in_another_order_are_other_inputs(swap: tuple[int, int]) -> None:
    bars = panel(instruments=1)
    order = np.arange(bars.bars)
    order[list(swap)] = order[list(swap[::-1])]
    fields = {name: getattr(bars, name)[order] for name in ("session", *FIELDS)}
    assert input_hashes(replace(bars, **fields))[-1, 0] != input_hashes(bars)[-1, 0]

"""Days of outages, floods of 429s and slow vendors in an instant: each choice is held against literal rules.

What is compared while they pass stands in `simulation`: orders, trials and reasons with those worked out anew from all
that happened; circuits with the literal breaker; bars with the vendor, symbol and session that they claim.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from quantmatrix_pipeline_tests.rolling import excess
from quantmatrix_pipeline_tests.unit.providers.routing.simulation import NOBODYS, ORDER, World

SEEDS = (1, 2, 3)  # by symbol, by date too, by symbol with scarce budgets


@pytest.fixture(scope="module")
def worlds() -> dict[int, World]:
    """Worlds after their days, by seed."""
    router = logging.getLogger("quantmatrix_pipeline.providers.routing")
    router.disabled, was = True, router.disabled
    found = {}
    for seed in SEEDS:
        found[seed] = World(seed)
        found[seed].run()
    router.disabled = was
    return found


def test_more_than_ten_thousand_questions_were_put_and_everything_happened_that_can(worlds: dict[int, World]) -> None:
    assert sum(world.questions for world in worlds.values()) > 10_000
    seen = sum((world.watch.seen for world in worlds.values()), start=type(worlds[1].watch.seen)())
    for what in ("reordered", "trials", "closed to open", "half_open to open", "half_open to closed"):
        assert seen[what] >= 20, what
    assert sum(len(world.told_why) for world in worlds.values()) >= 20
    assert all(world.runs_short for world in worlds.values())
    assert {vendor for world in worlds.values() for vendor in world.served} == set(ORDER) - {"planless", "keyless"}


@pytest.mark.parametrize("seed", SEEDS)
def test_no_vendor_saw_more_calls_than_it_allows_in_any_window(worlds: dict[int, World], seed: int) -> None:
    for name, vendor in worlds[seed].vendors.items():
        assert excess(vendor.calls, worlds[seed].limits[name]) == [], name
    assert worlds[seed].vendors["keyless"].calls == []


@pytest.mark.parametrize("seed", SEEDS)
def test_no_call_began_in_a_pause_that_the_vendor_asked_for(worlds: dict[int, World], seed: int) -> None:
    for name, vendor in worlds[seed].vendors.items():
        for said, pause in vendor.said_no:
            assert not [at for at, _ in vendor.calls if said < at < said + pause - 1e-3], name


@pytest.mark.parametrize("seed", SEEDS)
def test_within_a_day_everything_is_served_that_some_vendor_knows(worlds: dict[int, World], seed: int) -> None:
    scarce = seed % 3 == 0
    for unserved in worlds[seed].unserved:
        assert set(unserved) >= set(NOBODYS)
        assert len(unserved) <= len(NOBODYS) + 2 * scarce


@pytest.mark.parametrize("seed", SEEDS)
def test_a_question_that_nobody_serves_says_of_every_vendor_why(worlds: dict[int, World], seed: int) -> None:
    assert all(told == sorted(ORDER) for told in worlds[seed].told_why)


def test_the_same_seed_is_the_same_days_bit_for_bit_in_another_process_too(worlds: dict[int, World]) -> None:
    program = [sys.executable, "-m", "quantmatrix_pipeline_tests.unit.providers.routing.simulation", "2"]
    done = subprocess.run(
        program, env=os.environ | {"PYTHONHASHSEED": "12345"}, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == worlds[2].digest()
    assert worlds[1].digest() != worlds[2].digest()

"""Seeded faults in real bars: what is repaired is right, nearly all of it is repaired, and what was sound stays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from quantmatrix_pipeline.bars.repair.catalogue import MIN_CONFIDENCE
from quantmatrix_pipeline.bars.repair.detect import find_repairs
from quantmatrix_pipeline_tests.unit.bars import injected
from quantmatrix_pipeline_tests.unit.bars.injected import Injection, Panel, real_panel, score

# By which a right repair may differ from the truth: arithmetic is exact to rounding; two vendors' bars of one day are
# not (they round differently, and one counts prints that the other doesn't).
EXACT, OF_A_SECOND_SOURCE = 1e-12, 0.01
KINDS = [
    pytest.param(injected.hundredfold, EXACT, id="hundredfold"),
    pytest.param(injected.split_unit, EXACT, id="split_unit"),
    pytest.param(injected.zeroed, OF_A_SECOND_SOURCE, id="zeroed"),
    pytest.param(injected.stale, OF_A_SECOND_SOURCE, id="stale"),
    pytest.param(injected.junk, OF_A_SECOND_SOURCE, id="junk"),
]


def at_fault(panel: Panel) -> set[int]:
    return {f.row for f in find_repairs(panel.rows(), second=panel.second)}


@pytest.fixture(scope="module")
def some() -> Panel:
    return real_panel(40)


@pytest.fixture(scope="module")
def everything() -> Panel:
    return real_panel()


def prove(panel: Panel, made: Injection, tolerance: float, record: Callable[[str, object], None]) -> None:
    reached = score(panel, made, at_fault(panel), tolerance)
    record("precision", f"{reached.precision:.4f}")
    record("recall", f"{reached.recall:.4f}")
    assert reached.precision >= 0.99, reached
    assert reached.recall >= 0.9, reached
    assert reached.untouched_changed == 0


@pytest.mark.parametrize(("kind", "tolerance"), KINDS)
def test_a_hundred_faults_in_forty_stocks(
    some: Panel,
    kind: Callable[[Panel, int, int], Injection],
    tolerance: float,
    record_property: Callable[[str, object], None],
) -> None:
    prove(some, kind(some, 11, 100), tolerance, record_property)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("kind", "tolerance"), KINDS)
def test_a_thousand_faults_in_all_stocks(
    everything: Panel,
    kind: Callable[[Panel, int, int], Injection],
    tolerance: float,
    seed: int,
    record_property: Callable[[str, object], None],
) -> None:
    prove(everything, kind(everything, seed, 1000), tolerance, record_property)


@pytest.mark.slow
def test_of_a_million_real_bars_only_such_are_repaired_as_did_not_trade(everything: Panel) -> None:
    found = [f for f in find_repairs(everything.rows(), second=everything.second) if f.confidence >= MIN_CONFIDENCE]
    assert {f.rule.name for f in found} == {"stale"}
    assert all(everything.values["volume"][f.row] == 0 or f.confidence >= 0.98 for f in found)
    # The second source has the trades of those days; where it has none either, the bar is withheld.
    replaced = [f for f in found if f.repaired is not None]
    assert len(replaced) >= 9
    assert all(f.repaired is not None and f.repaired[4] > 500_000 for f in replaced)


def test_without_a_second_source_nothing_takes_the_place_of_what_is_gone(some: Panel) -> None:
    for kind in (injected.zeroed, injected.stale):
        made = kind(some, 5, 50)
        found = find_repairs(some.rows(made.values))
        assert all(f.repaired is None for f in found if f.row in set(made.wrong().tolist()))


def test_a_bar_is_repaired_alike_in_whatever_company(some: Panel) -> None:
    made = injected.hundredfold(some, 3, 60)
    rows = some.rows(made.values)
    together = {f.row: f for f in find_repairs(rows)}
    for stock in range(6):
        own = np.flatnonzero(some.index == stock)
        alone = Panel(
            np.zeros(len(own), np.int32), some.session[own], {k: v[own] for k, v in made.values.items()}, some.second
        )
        for f in find_repairs(alone.rows()):
            twin = together[int(own[f.row])]
            assert (f.rule, f.confidence, f.repaired) == (twin.rule, twin.confidence, twin.repaired)

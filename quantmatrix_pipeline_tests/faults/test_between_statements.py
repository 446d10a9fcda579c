"""A writer that ends before any of its statements leaves a state from which the next run comes to the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.conftest import TEMPLATE, _database
from quantmatrix_pipeline_tests.fingerprint import fingerprints
from quantmatrix_pipeline_tests.market_nights import DAYS, SYMBOLS, Market, split
from quantmatrix_pipeline_tests.warehouse.test_point_in_time import Killed, dies_at

LAST = len(DAYS) - 1
FIRST_NIGHT = datetime(2021, 12, 30, 22, tzinfo=UTC)
SECOND_NIGHT = FIRST_NIGHT + timedelta(days=1)
EVERYONE = {(symbol, day): 1.0 for symbol in range(len(SYMBOLS)) for day in range(LAST)}
# The next session, a correction beyond the tolerance, a hole that fills, and bars that are the same.
COMES = {(symbol, day): 1.0 for symbol in range(len(SYMBOLS)) for day in range(LAST - 3, LAST + 1)} | {(0, 15): 1.01}


@contextmanager
def market(server: EmbeddedServer) -> Iterator[tuple[Market, str]]:
    """A market after its first night, in a database of its own."""
    with contextmanager(_database)(server, TEMPLATE) as url:
        warehouse = Warehouse(url)
        one = Market(warehouse)
        one.store(FIRST_NIGHT, {key: value for key, value in EVERYONE.items() if key != (2, 17)})
        one.record(FIRST_NIGHT, LAST - 6, LAST - 1)
        yield one, url
        warehouse.close()


def second_night(one: Market) -> None:
    one.store(SECOND_NIGHT, COMES, {(2, 17): 1.0}, splits=[split(1, 14, 2)])
    one.record(SECOND_NIGHT, LAST, LAST)


def test_a_night_that_ends_before_each_of_its_statements_in_turn_comes_to_the_same(server: EmbeddedServer) -> None:
    with market(server) as (undisturbed, url):
        second_night(undisturbed)
        expected, then = fingerprints(url), undisturbed.known_at(FIRST_NIGHT)
    with market(server) as (disturbed, url):
        kills = 0
        while _killed(second_night, disturbed, kills + 1):
            kills += 1
            assert disturbed.known_at(FIRST_NIGHT) == then, kills
        assert kills > 40, "the night has that many statements"
        found = fingerprints(url)
        assert sorted(t for t in expected if expected[t] != found[t]) == []
        again = fingerprints(url)
        second_night(disturbed)
        assert fingerprints(url) == again


def _killed(night: Callable[[Market], None], one: Market, statement: int) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        dies_at(patch, statement)
        try:
            night(one)
        except Killed:
            return True
    return False

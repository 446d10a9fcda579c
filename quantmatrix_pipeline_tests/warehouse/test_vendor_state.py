"""Vendors' health and circuits in the warehouse: nothing is lost between processes, and one of them probes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from datetime import date
from multiprocessing.queues import Queue as MpQueue
from multiprocessing.synchronize import Barrier as MpBarrier
from threading import Barrier

import pytest
from sqlalchemy.exc import ProgrammingError

from quantmatrix_pipeline.errors import AuthFailed, VendorUnavailable
from quantmatrix_pipeline.providers.routing.circuit import Circuit, State
from quantmatrix_pipeline.providers.routing.health import Health, Outcome
from quantmatrix_pipeline.warehouse import vendor_state
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.vendor_state import CircuitRow, HealthRow

NOW = 1_795_000_000.25
PROCESSES = 4


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


def health_after(*outcomes: Outcome) -> Callable[[HealthRow], HealthRow]:
    def fold(row: HealthRow) -> HealthRow:
        health = Health(row.latencies_ms, row.error_ewma, row.received, row.calls).after(outcomes)
        return HealthRow(health.latencies_ms, health.error_ewma, health.received, health.calls)

    return fold


def fault(now: float) -> Callable[[CircuitRow], CircuitRow]:
    def fold(row: CircuitRow) -> CircuitRow:
        circuit = Circuit(State(row.state), *astuple(row)[1:])
        return CircuitRow(*astuple(circuit.after_fault(VendorUnavailable("fmp", "no"), now)))

    return fold


def test_health_comes_back_as_it_was_written(warehouse: Warehouse) -> None:
    assert vendor_state.read_health(warehouse) == {}
    first = HealthRow((0.1 + 0.2, 250.0), 0.1, ((date(2026, 11, 19), 8000, 8123), (date(2026, 11, 20), 0, 7)), 2**40)
    first = replace(first, compared=((date(2026, 11, 20), 24, 25),))
    written = vendor_state.merge_health(warehouse, "fmp", lambda _: first, NOW)
    assert written == replace(first, updated_at=NOW)
    vendor_state.merge_health(warehouse, "polygon", lambda row: row, NOW)
    assert vendor_state.read_health(warehouse) == {"fmp": written, "polygon": HealthRow(updated_at=NOW)}


def test_a_process_with_a_slow_clock_does_not_make_health_look_older(warehouse: Warehouse) -> None:
    vendor_state.merge_health(warehouse, "fmp", lambda row: row, NOW)
    assert vendor_state.merge_health(warehouse, "fmp", lambda row: row, NOW - 60).updated_at == NOW


def test_a_change_that_fails_leaves_everything_as_it_was(warehouse: Warehouse) -> None:
    def fails(row: HealthRow) -> HealthRow:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        vendor_state.merge_health(warehouse, "fmp", fails, NOW)
    assert vendor_state.read_health(warehouse) == {}


def test_a_circuit_comes_back_as_it_was_written(warehouse: Warehouse) -> None:
    assert vendor_state.read_circuits(warehouse) == {}
    opened = CircuitRow(*astuple(Circuit().after_fault(AuthFailed("fmp", "401"), NOW, "mark")))
    assert vendor_state.merge_circuit(warehouse, "fmp", "quotes", lambda _: opened, NOW) == opened
    lacking = CircuitRow(key_mark="mark", not_in_plan_until=NOW + 86400)
    vendor_state.merge_circuit(warehouse, "fmp", "bars_5m", lambda _: lacking, NOW)
    vendor_state.merge_circuit(warehouse, "finnhub", "quotes", lambda row: row, NOW)
    assert vendor_state.read_circuits(warehouse) == {
        ("fmp", "quotes"): opened,
        ("fmp", "bars_5m"): lacking,
        ("finnhub", "quotes"): CircuitRow(),
    }


def test_a_closed_circuit_forgets_all_that_an_open_one_knew(warehouse: Warehouse) -> None:
    vendor_state.merge_circuit(warehouse, "fmp", "quotes", lambda _: CircuitRow("open", 5, NOW, NOW, 1, "x", "m"), NOW)
    vendor_state.merge_circuit(warehouse, "fmp", "quotes", lambda _: CircuitRow(), NOW)
    assert vendor_state.read_circuits(warehouse) == {("fmp", "quotes"): CircuitRow()}


def test_the_writer_writes_and_the_reader_only_reads(server: EmbeddedServer, database_url: str) -> None:
    name = database_url.rsplit("/", 1)[1]
    writer, reader = (Warehouse(server.url(name, role)) for role in ("qm_writer", "qm_reader"))
    written = vendor_state.merge_health(writer, "fmp", lambda row: row, NOW)
    circuit = vendor_state.merge_circuit(writer, "fmp", "quotes", lambda row: row, NOW)
    assert vendor_state.read_health(reader) == {"fmp": written}
    assert vendor_state.read_circuits(reader) == {("fmp", "quotes"): circuit}
    with pytest.raises(ProgrammingError, match="permission denied"):
        vendor_state.merge_health(reader, "fmp", lambda row: row, NOW)
    with pytest.raises(ProgrammingError, match="permission denied"):
        vendor_state.claim_probe(reader, "fmp", "quotes", NOW, NOW + 30)
    writer.close()
    reader.close()


def _flush_many(url: str, number: int, start: MpBarrier) -> None:
    warehouse = Warehouse(url)
    start.wait()
    for flush in range(50):
        outcome = Outcome(float(number), VendorUnavailable("fmp", "no") if flush % 2 else None)
        vendor_state.merge_health(warehouse, "fmp", health_after(outcome), NOW)
        vendor_state.merge_health(warehouse, "fmp", _one_bar_more, NOW)
        vendor_state.merge_circuit(warehouse, "fmp", "quotes", _one_failure_more, NOW)
    warehouse.close()


def _one_bar_more(row: HealthRow) -> HealthRow:
    health = Health(row.latencies_ms, row.error_ewma, row.received, row.calls).with_bars(date(2026, 11, 20), 1, 2)
    return HealthRow(health.latencies_ms, health.error_ewma, health.received, health.calls)


def _one_failure_more(row: CircuitRow) -> CircuitRow:
    return replace(row, failures=row.failures + 1)


def _claim(url: str, start: MpBarrier, claimed: MpQueue[int]) -> None:
    warehouse = Warehouse(url)
    for probe in range(25):
        start.wait()
        if vendor_state.claim_probe(warehouse, "fmp", f"capability{probe}", NOW, NOW + 30):
            claimed.put(probe)
    warehouse.close()


def run_at_once(target: Callable[..., None], arguments: list[tuple[object, ...]]) -> None:
    """Run the target in a fresh process per tuple of arguments, and let none of them fail."""
    processes = [multiprocessing.get_context("spawn").Process(target=target, args=a) for a in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def test_four_processes_that_flush_at_once_lose_nothing(warehouse: Warehouse, database_url: str) -> None:
    start = multiprocessing.get_context("spawn").Barrier(PROCESSES)
    run_at_once(_flush_many, [(database_url, number, start) for number in range(PROCESSES)])
    health = vendor_state.read_health(warehouse)["fmp"]
    assert health.calls == 200
    assert len(health.latencies_ms) == 100
    assert health.received == ((date(2026, 11, 20), 200, 400),)
    assert 0.3 < health.error_ewma < 0.7
    assert vendor_state.read_circuits(warehouse)[("fmp", "quotes")].failures == 200


def test_of_four_processes_one_claims_each_probe(warehouse: Warehouse, database_url: str) -> None:
    opened = CircuitRow("open", 5, NOW - 60, NOW, 1, "VendorUnavailable")
    for probe in range(25):
        vendor_state.merge_circuit(warehouse, "fmp", f"capability{probe}", lambda _: opened, NOW - 60)
    context = multiprocessing.get_context("spawn")
    start, claimed = context.Barrier(PROCESSES), context.Queue()
    run_at_once(_claim, [(database_url, start, claimed)] * PROCESSES)
    assert sorted(claimed.get(timeout=10) for _ in range(25)) == list(range(25))
    assert claimed.empty()
    circuits = vendor_state.read_circuits(warehouse).values()
    assert {(c.state, c.retry_at, c.failures, c.reason) for c in circuits} == {
        ("half_open", NOW + 30, 5, "VendorUnavailable")
    }


def test_of_threads_with_five_faults_in_all_the_last_one_opens_the_circuit(warehouse: Warehouse) -> None:
    together = Barrier(5)

    def fail(_: int) -> CircuitRow:
        together.wait()
        return vendor_state.merge_circuit(warehouse, "fmp", "quotes", fault(NOW), NOW)

    with ThreadPoolExecutor(5) as threads:
        rows = sorted(threads.map(fail, range(5)), key=lambda row: row.failures)
    assert [(row.failures, row.state) for row in rows] == [
        (1, "closed"), (2, "closed"), (3, "closed"), (4, "closed"), (5, "open"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "claimable"),
    [
        (CircuitRow(), False),
        (CircuitRow("open", 5, NOW - 60, NOW + 0.001, 1, "x"), False),
        (CircuitRow("open", 5, NOW - 60, NOW, 1, "x"), True),
        (CircuitRow("half_open", 5, NOW - 60, NOW + 30, 1, "x"), False),
        (CircuitRow("half_open", 5, NOW - 60, NOW, 1, "x"), True),
        (CircuitRow("half_open", 5, NOW - 60, None, 1, "x"), True),
    ],
)
def test_a_probe_can_be_claimed_when_the_circuit_waits_for_one(
    warehouse: Warehouse, row: CircuitRow, claimable: bool
) -> None:
    vendor_state.merge_circuit(warehouse, "fmp", "quotes", lambda _: row, NOW - 60)
    assert vendor_state.claim_probe(warehouse, "fmp", "quotes", NOW, NOW + 30) is claimable
    after = replace(row, state="half_open", retry_at=NOW + 30) if claimable else row
    assert vendor_state.read_circuits(warehouse) == {("fmp", "quotes"): after}


def test_a_circuit_without_a_row_has_no_probe_to_claim(warehouse: Warehouse) -> None:
    assert not vendor_state.claim_probe(warehouse, "fmp", "quotes", NOW, NOW + 30)

"""Circuits and health as one process sees them: read from the shared store, changed there when something happens.

Between two happenings nothing is asked of the store; what other processes found out is read again every few seconds.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import date
from functools import partial
from typing import Any, ClassVar, Protocol, TypeVar

from quantmatrix_pipeline.errors import AuthFailed, VendorError
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.routing.circuit import Admission, Circuit, State
from quantmatrix_pipeline.providers.routing.health import Health, Outcome
from quantmatrix_pipeline.providers.routing.time import Time
from quantmatrix_pipeline.providers.transport.calls import Timed
from quantmatrix_pipeline.warehouse import vendor_state
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.vendor_state import CircuitRow, HealthRow

REREAD_SECONDS = 5.0
PROBE_SECONDS = 120.0  # until when a probe is waited for; longer than any call with its retries

T = TypeVar("T")

_CLOSED, _UNKNOWN = Circuit(), Health()  # of a vendor that was never asked


class StateStore(Protocol):
    """Where circuits and health outlive a process; see `warehouse.vendor_state`, whose functions these are."""

    blocking: ClassVar[bool]

    def read_health(self) -> Mapping[str, HealthRow]: ...

    def read_circuits(self) -> Mapping[tuple[str, str], CircuitRow]: ...

    def merge_health(self, vendor: str, fold: Callable[[HealthRow], HealthRow], now: float) -> HealthRow: ...

    def merge_circuit(
        self, vendor: str, capability: str, fold: Callable[[CircuitRow], CircuitRow], now: float
    ) -> CircuitRow: ...

    def claim_probe(self, vendor: str, capability: str, now: float, until: float) -> bool: ...


class WarehouseStore:
    """The store that all processes share."""

    blocking: ClassVar[bool] = True

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def read_health(self) -> Mapping[str, HealthRow]:
        return vendor_state.read_health(self._warehouse)

    def read_circuits(self) -> Mapping[tuple[str, str], CircuitRow]:
        return vendor_state.read_circuits(self._warehouse)

    def merge_health(self, vendor: str, fold: Callable[[HealthRow], HealthRow], now: float) -> HealthRow:
        return vendor_state.merge_health(self._warehouse, vendor, fold, now)

    def merge_circuit(
        self, vendor: str, capability: str, fold: Callable[[CircuitRow], CircuitRow], now: float
    ) -> CircuitRow:
        return vendor_state.merge_circuit(self._warehouse, vendor, capability, fold, now)

    def claim_probe(self, vendor: str, capability: str, now: float, until: float) -> bool:
        return vendor_state.claim_probe(self._warehouse, vendor, capability, now, until)


class MemoryStore:
    """A store of one process: for a look at a vendor without a database."""

    blocking: ClassVar[bool] = False

    def __init__(self) -> None:
        self._health: dict[str, HealthRow] = {}
        self._circuits: dict[tuple[str, str], CircuitRow] = {}

    def read_health(self) -> Mapping[str, HealthRow]:
        return dict(self._health)

    def read_circuits(self) -> Mapping[tuple[str, str], CircuitRow]:
        return dict(self._circuits)

    def merge_health(self, vendor: str, fold: Callable[[HealthRow], HealthRow], now: float) -> HealthRow:
        self._health[vendor] = fold(self._health.get(vendor, HealthRow()))
        return self._health[vendor]

    def merge_circuit(
        self, vendor: str, capability: str, fold: Callable[[CircuitRow], CircuitRow], now: float
    ) -> CircuitRow:
        self._circuits[vendor, capability] = fold(self._circuits.get((vendor, capability), CircuitRow()))
        return self._circuits[vendor, capability]

    def claim_probe(self, vendor: str, capability: str, now: float, until: float) -> bool:
        circuit = circuit_of(self._circuits.get((vendor, capability), CircuitRow()))
        if circuit.admits(now) is not Admission.PROBE:
            return False
        self._circuits[vendor, capability] = row_of(circuit.probing(until))
        return True


def circuit_of(row: CircuitRow) -> Circuit:
    """Return a stored circuit as the state machine."""
    return Circuit(**_values(row) | {"state": State(row.state)})


def row_of(circuit: Circuit) -> CircuitRow:
    """Return the state machine as it is stored."""
    return CircuitRow(**_values(circuit) | {"state": circuit.state.value})


def _values(of: Circuit | CircuitRow) -> dict[str, Any]:
    return {field.name: getattr(of, field.name) for field in fields(of)}  # asdict copies deeply, which takes longer


def health_of(row: HealthRow) -> Health:
    """Return what is stored of a vendor's calls."""
    return Health(row.latencies_ms, row.error_ewma, row.received, row.calls, row.compared)


class States:
    """What is known of the vendors while questions are asked.

    Parameters
    ----------
    store
        Where it is kept.
    time
        The routers' time.
    key_marks
        Vendor -> a one-way mark of its key, None without one.
    """

    def __init__(
        self,
        store: StateStore,
        time: Time,
        key_marks: Mapping[str, str | None],
    ) -> None:
        self._store = store
        self._time = time
        self._marks = key_marks
        # Vendor -> what it offers: a refused key concerns all of it. The router fills it in.
        self.offered: Mapping[str, Iterable[Capability]] = {}
        self._read_at: float | None = None
        self._health: dict[str, Health] = {}
        self._heard_at: dict[str, float] = {}
        self._circuits: dict[tuple[str, str], Circuit] = {}
        self._outcomes: dict[str, list[Outcome]] = defaultdict(list)
        self._bars: dict[str, dict[date, tuple[int, int]]] = defaultdict(dict)
        self._compared: dict[str, dict[date, tuple[int, int]]] = defaultdict(dict)

    # --- looking -----------------------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Read the store again if that was not done just now; what this process has not written yet stays in view."""
        now = self._time.monotonic()
        if self._read_at is not None and now < self._read_at + REREAD_SECONDS:
            return
        self._read_at = now
        circuits = await self._do(self._store.read_circuits)
        health = await self._do(self._store.read_health)
        self._circuits = {key: circuit_of(row) for key, row in circuits.items()}
        for vendor, row in health.items():
            self._health[vendor] = health_of(row).after(self._outcomes[vendor])
            if row.updated_at is not None:
                self._heard_at[vendor] = max(row.updated_at, self._heard_at.get(vendor, row.updated_at))

    def circuit(self, vendor: str, capability: Capability) -> Circuit:
        """Return a circuit under the key in force."""
        return self._circuits.get((vendor, capability), _CLOSED).with_key(self._marks.get(vendor))

    def health(self, vendor: str) -> Health:
        """Return what is known of a vendor's calls, over all capabilities."""
        return self._health.get(vendor, _UNKNOWN)

    def heard_at(self, vendor: str) -> float | None:
        """Return when a vendor's health was last heard of, seconds since the epoch, None before the first time."""
        return self._heard_at.get(vendor)

    def admits(self, vendor: str, capability: Capability) -> Admission:
        """Return what the circuit says to a question now."""
        return self.circuit(vendor, capability).admits(self._time.now())

    # --- what happens ------------------------------------------------------------------------------------------------

    async def enter(self, vendor: str, capability: Capability) -> bool:
        """Say whether a question may be asked now; of several that would probe a circuit, one is let through."""
        now = self._time.now()
        match self.circuit(vendor, capability).admits(now):
            case Admission.ASK:
                return True
            case Admission.PROBE:
                mark = self._marks.get(vendor)
                await self._change(vendor, capability, lambda circuit: circuit.with_key(mark))
                if (here := self.circuit(vendor, capability)).admits(now) is not Admission.PROBE:
                    return here.admits(now) is Admission.ASK  # another process has probed it meanwhile
                until = now + PROBE_SECONDS
                mine = await self._do(lambda: self._store.claim_probe(vendor, capability, now, until))
                self._circuits[vendor, capability] = here.probing(until)
                return mine
            case _:
                return False

    async def succeeded(self, vendor: str, capability: Capability) -> None:
        """Note that a question was answered with data; a key that is taken opens all that its refusal had closed."""
        here = self.circuit(vendor, capability)
        if here == _CLOSED:
            return
        mark, refused = self._marks.get(vendor), AuthFailed.__name__
        concerned = {capability}
        if here.reason == refused:
            concerned.update(c for c in self.offered.get(vendor, ()) if self.circuit(vendor, c).reason == refused)
        for each in sorted(concerned):
            await self._change(vendor, each, lambda circuit: circuit.with_key(mark).after_success())

    async def failed(self, vendor: str, capability: Capability, error: VendorError) -> None:
        """Note that a question ended in an error, of whatever kind."""
        now, mark = self._time.now(), self._marks.get(vendor)
        concerned = {capability}
        if isinstance(error, AuthFailed):
            concerned.update(self.offered.get(vendor, ()))
        for each in sorted(concerned):
            here = self.circuit(vendor, each)
            if here.after_fault(error, now, mark) != here:
                await self._change(vendor, each, lambda circuit: circuit.after_fault(error, now, mark))

    def heard(self, timed: Timed) -> None:
        """Take in how one call ended."""
        outcome = Outcome(None if timed.lost else timed.milliseconds, timed.error)
        self._outcomes[timed.vendor].append(outcome)
        self._health[timed.vendor] = self.health(timed.vendor).after([outcome])
        self._heard_at[timed.vendor] = self._time.now()

    def received(self, vendor: str, session: date, received: int, expected: int) -> None:
        """Take in how many of the bars of a session came that a vendor was asked for."""
        came, due = self._bars[vendor].get(session, (0, 0))
        self._bars[vendor][session] = (came + received, due + expected)

    def compared(self, vendor: str, session: date, confirmed: int, compared: int) -> None:
        """Take in how many of a vendor's bars another one confirmed, of those compared in the night of a session."""
        some, of = self._compared[vendor].get(session, (0, 0))
        self._compared[vendor][session] = (some + confirmed, of + compared)

    async def flush(self) -> None:
        """Write what was taken in; other processes add theirs to the same rows."""
        now = self._time.now()
        for vendor in sorted({*self._outcomes, *self._bars, *self._compared}):
            outcomes, bars = self._outcomes.pop(vendor, []), self._bars.pop(vendor, {})
            compared = self._compared.pop(vendor, {})
            if not outcomes and not bars and not compared:
                continue
            fold = partial(_folded, outcomes, bars, compared)
            row = await self._do(partial(self._store.merge_health, vendor, fold, now))
            self._health[vendor] = health_of(row)

    async def _change(self, vendor: str, capability: Capability, fold: Callable[[Circuit], Circuit]) -> None:
        def folded(row: CircuitRow) -> CircuitRow:
            return row_of(fold(circuit_of(row)))

        now = self._time.now()
        row = await self._do(lambda: self._store.merge_circuit(vendor, capability, folded, now))
        self._circuits[vendor, capability] = circuit_of(row)

    async def _do(self, ask: Callable[[], T]) -> T:
        return await asyncio.to_thread(ask) if self._store.blocking else ask()


def _folded(
    outcomes: Sequence[Outcome],
    bars: Mapping[date, tuple[int, int]],
    compared: Mapping[date, tuple[int, int]],
    row: HealthRow,
) -> HealthRow:
    health = health_of(row).after(outcomes)
    for session, (came, due) in sorted(bars.items()):
        health = health.with_bars(session, came, due)
    for session, (confirmed, of) in sorted(compared.items()):
        health = health.with_comparisons(session, confirmed, of)
    return HealthRow(health.latencies_ms, health.error_ewma, health.received, health.calls, compared=health.compared)

"""Circuits and health as one process sees them, beside another that shares the store."""

from __future__ import annotations

from quantmatrix_pipeline.errors import VendorUnavailable
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.routing.circuit import Admission
from quantmatrix_pipeline.providers.routing.state import MemoryStore, States
from quantmatrix_pipeline_tests.fake_time import FakeTime

QUOTES = Capability.QUOTES


def test_a_circuit_that_another_process_probed_and_closed_is_asked_at_once() -> None:
    time, store = FakeTime(1_795_000_000.0), MemoryStore()
    here, there = States(store, time, {}), States(store, time, {})

    async def main() -> None:
        for _ in range(5):
            await here.failed("v", QUOTES, VendorUnavailable("v", "HTTP 500"))
        await there.refresh()
        await time.sleep(61)
        assert await there.enter("v", QUOTES), "the cool-down is over: one probe"
        assert not await here.enter("v", QUOTES), "and no second one"
        await there.succeeded("v", QUOTES)
        await time.sleep(121)
        assert await here.enter("v", QUOTES)
        assert here.admits("v", QUOTES) is Admission.ASK

    time.run(main())

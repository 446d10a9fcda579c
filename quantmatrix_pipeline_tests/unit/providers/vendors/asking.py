"""One question to one vendor over a real HTTP server: what it answered, what it was asked, what it was charged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pytest
from pydantic import SecretStr

from quantmatrix_pipeline.errors import VendorError
from quantmatrix_pipeline.providers.contract import Vendor
from quantmatrix_pipeline.providers.transport.answers_kept import KeptAnswers
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Call, Replay, Reply, in_order, replay

T = TypeVar("T")
V = TypeVar("V", bound=Vendor)
Question = Callable[[V], Awaitable[T]]


@dataclass
class Asked(Generic[T]):
    value: T
    server: Replay
    meter: Recording

    @property
    def call(self) -> Call:
        """The only call that was made."""
        (only,) = self.server.calls
        return only


@dataclass(frozen=True)
class Asking(Generic[V]):
    """Asks a vendor that is made by `connect`, with `key`.

    Attributes
    ----------
    reach_days
        How far back the plan has history.
    """

    connect: Callable[[Access], V]
    key: str | None = None
    reach_days: int | None = None

    def ask(
        self,
        answer: Callable[[Call], Reply],
        question: Callable[[V], Awaitable[T]],
        *,
        kept: KeptAnswers | None = None,
        served: list[Replay] | None = None,
        at: Replay | None = None,
    ) -> Asked[T]:
        """Put a question to the vendor behind `answer`; `served` gets the server, also when the question fails.

        A kept answer belongs to an address: who asks a second time says `at` which ended server's.
        """
        meter = Recording()

        async def run(url: str) -> T:
            key = SecretStr(self.key) if self.key is not None else None
            vendor = self.connect(Access(url, key, meter, kept=kept, reach_days=self.reach_days))
            await vendor.open()
            try:
                return await question(vendor)
            finally:
                await vendor.close()

        with replay(answer, again=at) as server:
            if served is not None:
                served.append(server)
            return Asked(asyncio.run(run(server.url)), server, meter)

    def fail(self, question: Callable[[V], Awaitable[Any]], *replies: Reply, calls: int = 1) -> VendorError:
        """Return the error that a question ends in, after exactly `calls` calls."""
        served: list[Replay] = []
        with pytest.raises(VendorError) as caught:
            self.ask(in_order(*replies), question, served=served)
        assert len(served[0].calls) == calls
        return caught.value

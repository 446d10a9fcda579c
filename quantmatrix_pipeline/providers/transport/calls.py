"""One HTTP question and what came back, as plain values: what a vendor's pure steps take and give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from quantmatrix_pipeline.errors import VendorError
from quantmatrix_pipeline.providers.contract import Capability


@dataclass(frozen=True, slots=True)
class Call:
    """A query, transformed: what is asked of a vendor, without its key.

    Attributes
    ----------
    capability
        What it serves; calls are counted by it.
    endpoint
        The path's name for people and metrics, without symbols (`v2/aggs`): few different ones.
    path
        Appended to the vendor's base URL.
    params
        The query string, decoded.
    symbol
        The canonical symbol, where the call concerns one; errors name it.
    weight
        What the vendor charges for it.
    keep_seconds
        How long the answer may be served again without asking; 0: not at all.
    """

    capability: Capability
    endpoint: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    symbol: str | None = None
    weight: int = 1
    keep_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, the key cut out of it wherever it stood. `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    learned_at: datetime

    def text(self, most: int = 300) -> str:
        """Return the beginning of the body on one line, for a message."""
        return " ".join(self.content[: 4 * most].decode(errors="replace").split())[:most]


@dataclass(frozen=True, slots=True)
class Timed:
    """One finished attempt. `error` is None where the vendor answered what was asked; `lost` says that there was
    neither an answer nor a time-out (no connection), so that how long it took says nothing of the vendor's speed.
    """

    vendor: str
    capability: Capability
    endpoint: str
    milliseconds: float
    error: VendorError | None
    lost: bool = False


class Meter(Protocol):
    """Stands before each attempt and hears of it afterwards."""

    async def admit(self, vendor: str, weight: int) -> None:
        """Return when the budget allows the call.

        Raises
        ------
        RateLimited, QuotaExhausted
            If it won't, in the time that a call may wait.
        """
        ...

    def note(self, timed: Timed) -> None:
        """Hear how an attempt ended."""
        ...

"""A budget without an end that remembers what it let through."""

from __future__ import annotations

from quantmatrix_pipeline.providers.transport.calls import Timed


class Recording:
    """Admits every call; `weights` and `attempts` are what was charged and how it ended, in their order."""

    def __init__(self) -> None:
        self.weights: list[int] = []
        self.attempts: list[Timed] = []

    async def admit(self, vendor: str, weight: int) -> None:
        self.weights.append(weight)

    def note(self, timed: Timed) -> None:
        self.attempts.append(timed)

"""What an ingestion did, as an operator asks for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date


@dataclass(slots=True)
class IngestReport:
    """Counts of one ingestion.

    The counts add up: ``fetched == inserted + revised + unchanged + rejected``. `rescored` counts stored bars whose
    flags changed because a bar before them was filled in; they are not among the fetched. `disputed` counts those among
    the unchanged of which another vendor than theirs said something else. `repaired` counts bars, fetched or stored,
    that hold other numbers than came, `suggested` the faults that were too unsure for that. `jumps` are the symbols
    whose price jumped as far as a split would make it without a split that is known, with the first and last such
    session.
    """

    vendor: str
    first: date
    last: date
    asked_symbols: int = 0
    asked_sessions: int = 0
    fetched: int = 0
    inserted: int = 0
    revised: int = 0
    unchanged: int = 0
    rejected: int = 0
    rescored: int = 0
    disputed: int = 0
    flagged: int = 0
    repaired: int = 0
    suggested: int = 0
    splits: int = 0
    dividends: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    jumps: dict[str, tuple[date, date]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def balanced(self) -> bool:
        """Whether every row that came is accounted for."""
        return self.fetched == self.inserted + self.revised + self.unchanged + self.rejected

"""The state of the tracked set as of a session: how many instruments are how old, and the one line that says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

FRESH, YESTERDAY, STALE, NONE = BUCKETS = ("<=24h", "24-48h", ">48h", "none")
SHOWN_STALE = 50

# No asset fetches bars of five minutes yet: their coverage is told as inactive, and nothing is promised of it.
M5_INACTIVE: Mapping[str, Any] = {"enabled": False, "reason": "no asset fetches bars of five minutes yet"}


def bucket_of(age: int | None) -> str:
    """Name the freshness bucket of an age in sessions; None stands for no bar at all."""
    if age is None:
        return NONE
    return FRESH if age <= 0 else YESTERDAY if age == 1 else STALE


def count_buckets(buckets: Iterable[str]) -> dict[str, int]:
    """Count instruments by bucket; each bucket is there, also where it has none."""
    counts = dict.fromkeys(BUCKETS, 0)
    for bucket in buckets:
        counts[bucket] += 1
    return counts


@dataclass(frozen=True, slots=True)
class CoverageReport:
    """The state of the tracked set as of `session`.

    `expected` counts the tracked instruments that should have a bar: not those delisted by then. `buckets` counts
    them by the age of their newest bar in sessions (0, 1, 2 or more, no bar; sessions accepted as missing do not
    count); `stale` names the symbols of each bucket but the first, whole. `by_index` and `by_tier` have such buckets of
    the active members of each index and of each tier. `snapshots` and `history` count the expected instruments that
    have such a row; `unusable` those whose bar of the session scored too low to be computed with. `emptied` names the
    indexes that had members once and have none now.
    """

    session: date
    tracked_count: int
    expected: int
    delisted: int
    buckets: Mapping[str, int]
    stale: Mapping[str, Sequence[str]]
    indices: Mapping[str, int]
    snapshots: int
    history: int
    unusable: int
    target: float
    by_index: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    by_tier: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    emptied: Sequence[str] = ()
    reasons: Sequence[str] = field(default_factory=tuple)
    job: str | None = None

    @property
    def fresh(self) -> int:
        """Instruments whose newest bar is the session's."""
        return self.buckets[FRESH]

    @property
    def share(self) -> float:
        """Fresh instruments over expected ones, 0..1; 1 when nothing is expected, as when all of them are delisted."""
        return self.fresh / self.expected if self.expected else 1.0

    @property
    def status(self) -> str:
        return "degraded" if self.reasons else "ok"

    def headline(self) -> str:
        """The one line that an operator reads first: session, ok or degraded, why, the job to press."""
        if not self.reasons:
            return f"{self.session} ok: {self.fresh} of {self.expected} instruments fresh ({self.share:.1%})"
        return f"{self.session} degraded: {'; '.join(self.reasons)} -> press {self.job}"

    def as_json(self) -> dict[str, Any]:
        body = asdict(self) | {
            "session": self.session.isoformat(),
            "status": self.status,
            "share": round(self.share, 6),
            "m5": dict(M5_INACTIVE),
        }
        body["stale"] = {bucket: list(symbols)[:SHOWN_STALE] for bucket, symbols in self.stale.items()}
        body["headline"] = self.headline()
        return body

    def published(self, now: datetime) -> dict[str, Any]:
        """Return what Redis holds for others to read.

        That is the report, with `daily` and `m5` as `/market-data/coverage` has them; and under `snapshot` the same as
        the readers of another system know it: lists of what is stale or missing, and a `status` of numbers.
        """
        body = self.as_json()
        at = now.isoformat()
        daily = {
            "enabled": True,
            "count": self.expected - self.buckets[NONE],
            "freshness": body["buckets"],
            "stale": body["stale"],
        }
        m5 = {
            **M5_INACTIVE,
            "count": 0,
            "freshness": count_buckets(()),
            "stale": {bucket: [] for bucket in BUCKETS if bucket != FRESH},
        }
        told = {"generated_at": at, "symbols": self.tracked_count, "daily": daily, "m5": m5}
        return body | told | {"updated_at": at, "schema_version": 1, "snapshot": self._snapshot(told)}

    def _snapshot(self, told: Mapping[str, Any]) -> dict[str, Any]:
        in_time = self.buckets[FRESH] + self.buckets[YESTERDAY]  # what is older did not count there
        old = [{"symbol": symbol, "bucket": bucket} for bucket in (STALE, NONE) for symbol in self.stale[bucket]]
        return {
            **told,
            "tracked_count": self.tracked_count,
            "indices": dict(self.indices),
            "daily": told["daily"] | {"count": in_time, "stale": old[:SHOWN_STALE]},
            "m5": told["m5"] | {"stale": []},
            "status": {
                "label": self.status,
                "summary": self.headline(),
                "daily_pct": round(100 * self.share, 1),
                "m5_pct": 0.0,
                "stale_daily": self.buckets[STALE] + self.buckets[NONE],
                "stale_m5": 0,
            },
            "meta": {"backfill_5m_enabled": M5_INACTIVE["enabled"]},
        }

"""How many calls a vendor allows per second, minute and day, and how that is written in a setting."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = re.compile(r"(\d+)\s*/\s*([a-z]+)")
_UNITS = {
    "s": "per_second",
    "sec": "per_second",
    "second": "per_second",
    "min": "per_minute",
    "minute": "per_minute",
    "day": "per_day",
}
LARGEST_LEASE = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """Calls allowed in any second, any minute and any UTC day; None: as many as one likes.

    Where a vendor charges more than one call for a request (a credit per symbol, a weight), these are the vendor's
    units.

    Raises
    ------
    ValueError
        If a limit is below 1.
    """

    per_second: int | None = None
    per_minute: int | None = None
    per_day: int | None = None

    def __post_init__(self) -> None:
        for limit in (self.per_second, self.per_minute, self.per_day):
            if limit is not None and limit < 1:
                raise ValueError(
                    f"a limit of {limit} calls allows none; name at least 1, or leave the vendor's key out"
                )

    @classmethod
    def parse(cls, text: str) -> Limits:
        """Read limits such as `8/min 800/day`, `30/s, 60/min` or `unlimited`.

        Units are s (sec, second), min (minute) and day; parts are separated by commas or blanks, at most one per unit.

        Raises
        ------
        ValueError
            If the text is none of this; says what is wrong with which part.
        """
        if text.strip().lower() == "unlimited":
            return cls()
        # A blank around the slash doesn't end a part.
        parts = [part for part in re.split(r"[,\s]+", re.sub(r"\s*/\s*", "/", text.strip().lower())) if part]
        found: dict[str, int] = {}
        for part in parts:
            match = _PART.fullmatch(part)
            if match is None:
                raise ValueError(f"{part!r} in {text!r} is no limit; write them like '8/min 800/day', or 'unlimited'")
            unit = _UNITS.get(match[2])
            if unit is None:
                raise ValueError(f"{match[2]!r} in {text!r} is no unit of a limit; known are {', '.join(_UNITS)}")
            if unit in found:
                raise ValueError(f"{text!r} names two limits {unit.replace('_', ' ')}")
            found[unit] = int(match[1])
        if not found:
            raise ValueError("no limits are named; write them like '8/min 800/day', or 'unlimited'")
        return cls(**found)

    def __str__(self) -> str:
        limits = (("s", self.per_second), ("min", self.per_minute), ("day", self.per_day))
        return " ".join(f"{limit}/{unit}" for unit, limit in limits if limit is not None) or "unlimited"

    @property
    def tightest(self) -> int | None:
        """The most that one call may weigh; None: any weight."""
        return min((x for x in (self.per_second, self.per_minute, self.per_day) if x is not None), default=None)

    @property
    def lease(self) -> int:
        """How many calls a process leases at once: 1 for small limits, at most 256.

        A lease is on disk before it is spent, which takes milliseconds, so it should be large; what one process holds
        unspent the others lack, so it should be a small part of the limit.
        """
        shares = [LARGEST_LEASE]
        if self.per_second is not None:
            shares.append(self.per_second // 10)
        if self.per_minute is not None:
            shares.append(self.per_minute // 16)
        if self.per_day is not None:
            shares.append(self.per_day // 64)
        return max(1, min(shares))

"""The thresholds by which a weekly stage is told, and the version of the rules that use them."""

from __future__ import annotations

from dataclasses import dataclass

RULES_VERSION = 1
"""Of the rules in `stage`: one more whenever the same bars and thresholds would get another label."""


@dataclass(frozen=True, slots=True)
class StageRules:
    """Thresholds in percent, each positive.

    Attributes
    ----------
    flat
        Up to this much change in a week, up or down, the average is flat.
    near
        Up to this far from the average a price is near it: 2A above a rising one, 1 before any trend was seen.
    far
        Up to this far above a rising average a price is 2B, beyond it 2C; not below `near`.
    """

    flat: float = 0.05
    near: float = 5.0
    far: float = 15.0


DEFAULT_RULES = StageRules()

"""From where on a bar is flagged, and which score it needs to be validated."""

from __future__ import annotations

from dataclasses import dataclass

from quantmatrix_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The limits of the soft rules, each of them exclusive but the last.

    Attributes
    ----------
    gap
        Move of the open off the previous close, relative to that, from which `gap_detected` is set.
    extreme_move
        Move of the close off the previous close, relative to that: 5 is 500 %.
    volume_spike, volume_drop
        Volume by the median of the bars before, above and below which it is an anomaly.
    validated
        The least score of a validated bar, inclusive, in whole hundredths. Above 0.8, which is what a jump as of a
        split that nobody named may have at most.
    """

    gap: float = 0.10
    extreme_move: float = 5.0
    volume_spike: float = 10.0
    volume_drop: float = 0.1
    validated: float = 0.85

    @classmethod
    def of(cls, settings: Settings) -> Thresholds:
        return cls(
            gap=settings.gap_percent / 100,
            extreme_move=settings.extreme_move_percent / 100,
            volume_spike=settings.volume_spike,
            volume_drop=settings.volume_drop,
            validated=settings.validated_quality,
        )


DEFAULT_THRESHOLDS = Thresholds()

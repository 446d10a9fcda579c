"""What is known of each vendor at this moment, for people, the API and the metrics. Asks no vendor."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.routing.budget_ledger import Room
from quantmatrix_pipeline.providers.routing.circuit import Circuit, State
from quantmatrix_pipeline.providers.routing.health import Health, Score
from quantmatrix_pipeline.providers.routing.limits import Limits


@dataclass(frozen=True, slots=True)
class CircuitView:
    """One capability's circuit; instants are in UTC."""

    state: State
    reason: str | None
    retry_at: datetime | None
    not_in_plan_until: datetime | None


@dataclass(frozen=True, slots=True)
class VendorView:
    """One vendor.

    Attributes
    ----------
    missing_key
        The variable that would hold the key it needs; None where there is one, or none is needed.
    state
        The worst of its circuits.
    circuits
        Those that are not simply closed.
    score
        With the worst circuit as its breaker part.
    """

    name: str
    missing_key: str | None
    capabilities: tuple[Capability, ...]
    state: State
    circuits: Mapping[Capability, CircuitView]
    score: Score
    health: Health
    limits: Limits
    room: Room
    heard_at: datetime | None


def view(
    name: str,
    missing_key: str | None,
    circuits: Mapping[Capability, Circuit],
    health: Health,
    heard_at: float | None,
    limits: Limits,
    room: Room,
    now: float,
) -> VendorView:
    """Put together what is known of a vendor; `circuits` are those of all that it offers, `now` in epoch seconds."""
    states = {capability: circuit.state_at(now) for capability, circuit in circuits.items()}
    worst = min(states.values(), key=lambda state: state.level, default=State.CLOSED)
    return VendorView(
        name,
        missing_key,
        tuple(sorted(circuits)),
        worst,
        {
            capability: CircuitView(
                states[capability],
                circuit.reason,
                _instant(circuit.retry_at if states[capability] is not State.CLOSED else None),
                _instant(circuit.not_in_plan_until if (circuit.not_in_plan_until or 0) > now else None),
            )
            for capability, circuit in sorted(circuits.items())
            if states[capability] is not State.CLOSED or (circuit.not_in_plan_until or 0) > now
        },
        health.score(worst),
        health,
        limits,
        room,
        _instant(heard_at),
    )


def digest(vendors: Sequence[VendorView]) -> dict[str, dict[str, object]]:
    """Return by vendor what a reader of the copy in Redis asks first, as JSON knows it."""
    return {
        v.name: {
            "health_score": v.score.total,
            "state": v.state.value,
            "latency": v.health.p95_ms,
            "error_ewma": v.health.error_ewma,
            "calls_left_today": v.room.today,
        }
        for v in vendors
        if v.missing_key is None
    }


def overall(vendors: Sequence[VendorView]) -> str:
    """Say in a word how the vendors that can be asked are: healthy, degraded (some are not), down (none is), none."""
    able = [v for v in vendors if v.missing_key is None]
    well = [v for v in able if v.state is State.CLOSED]
    if not able:
        return "none"
    return "healthy" if len(well) == len(able) else "degraded" if well else "down"


def troubles(vendor: VendorView) -> list[str]:
    """Say in words which of a vendor's capabilities are not simply open for questions; those alike in one sentence."""
    alike: dict[tuple[State | None, str | None, datetime | None], list[str]] = {}
    for capability, circuit in vendor.circuits.items():
        lacking = circuit.not_in_plan_until is not None
        key = (None, None, None) if lacking else (circuit.state, circuit.reason, circuit.retry_at)
        alike.setdefault(key, []).append(capability)
    return [f"{', '.join(names)} {_trouble(*key)}" for key, names in alike.items()]


def _trouble(state: State | None, reason: str | None, retry_at: datetime | None) -> str:
    if state is None:
        return "not in the plan"
    after = f" after {reason}" if reason else ""
    when = f"from {retry_at:%Y-%m-%d %H:%M:%SZ} on" if retry_at is not None else "with the next question"
    return f"{state.value.replace('_', ' ')}{after}, tried again {when}"


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def spent_for_today(views: Sequence[VendorView], capabilities: Collection[Capability], share: float) -> str | None:
    """Say why no more than needed should be asked today: of every vendor that could be asked, `share` of a day's calls
    or more is used. None while one has calls to spare, or no limit per day.
    """
    used = []
    for v in views:
        if v.missing_key is not None or not set(v.capabilities) & set(capabilities):
            continue
        day, left = v.limits.per_day, v.room.today
        if day is None or left is None or day - left < share * day:
            return None
        used.append(f"{v.name} {v.room.today} of {v.limits.per_day}")
    return f"the calls left of today are tonight's: {', '.join(used)}" if used else None


def used_up(views: Sequence[VendorView], capabilities: Collection[Capability], now: float) -> str | None:
    """Say that no vendor that could be asked has a call of today left, and when there are more; None while one has.

    `now` is in epoch seconds.
    """
    able = [v for v in views if v.missing_key is None and set(v.capabilities) & set(capabilities)]
    if not able or any(v.room.today is None or v.room.today > 0 for v in able):
        return None
    midnight = (now // 86_400 + 1) * 86_400
    renewed = datetime.fromtimestamp(min(v.room.exhausted_until or midnight for v in able), UTC)
    return f"the calls of {', '.join(v.name for v in able)} are used up until {renewed:%Y-%m-%d %H:%MZ}"

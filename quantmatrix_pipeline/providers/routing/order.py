"""The order in which vendors are asked for one capability, and why each stands where it does. Pure and deterministic.

Who can't serve is left out, with the reason. The others stand in the order of the policy, but for two things:

1. Those whose score is below 0.55 stand behind all others: they are passed over while another can serve.
2. Within each of the two groups a vendor overtakes one that the policy names earlier only where its score is higher by
   more than `MARGIN`. The order is built by insertion: the vendors come in the policy's order, each at the end, and
   each moves forward past its neighbour as long as it exceeds that one's score by more than the margin. So nobody is
   ever behind one that the policy names later without that difference, and where a vendor stops, it lacks it.

A vendor asked for by name stands before all, if it can serve. Scores are compared in billionths, so that 0.55 on paper
is 0.55 here.

Health alone would keep a vendor behind for ever: who is not asked can't show that it recovered. `Ranking.trials` names
the vendors to which one question should go first for this reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.routing.circuit import Admission, Circuit
from quantmatrix_pipeline.providers.routing.health import PASSED_OVER_BELOW, Health, Score

MARGIN = 0.20
TRIAL_AFTER_SECONDS = 600.0
_BILLION = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A vendor that the policy names, or that was asked for by name, as it is at one moment.

    Attributes
    ----------
    vendor
        Its name.
    offers
        Whether it has the capability at all.
    missing_key
        The variable that would hold its key, where it needs one and has none; else None.
    circuit
        That of the capability, under the key in force (`Circuit.with_key`).
    health
        Of the vendor as a whole.
    heard_at
        When something was last learned of its health, seconds since the epoch; None: never.
    used_up_until
        When its day's budget is renewed, seconds since the epoch; None while there is something left of it. A budget
        per minute that is used up makes nobody skipped: it is worth waiting for.
    """

    vendor: str
    offers: bool = True
    missing_key: str | None = None
    circuit: Circuit = field(default_factory=Circuit)
    health: Health = field(default_factory=Health)
    heard_at: float | None = None
    used_up_until: float | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Whom to ask, and why.

    Attributes
    ----------
    order
        Vendors that can serve, the first to ask first. One whose circuit waits for a probe may be asked one question,
        by who claims it.
    scores
        Of every candidate, also of the skipped.
    moved
        Vendor -> why it does not stand at its place of the policy, in words.
    skipped
        Vendor -> why it can't serve, in words.
    trials
        Vendors that stand behind one that the policy names later, and whose circuit waits for a probe, or of which
        nothing was heard for 10 minutes; in the policy's order. To each of them one question should go before anybody
        else is asked, or its health stays as it was. Nobody, where a vendor that can serve was asked for by name.
    """

    order: tuple[str, ...]
    scores: dict[str, Score]
    moved: dict[str, str]
    skipped: dict[str, str]
    trials: tuple[str, ...]

    @property
    def reasons(self) -> dict[str, str]:
        """Vendor -> why it is not asked at its place of the policy: moved or skipped."""
        return self.moved | self.skipped


def rank(
    capability: Capability, candidates: Sequence[Candidate], now: float, *, preferred: str | None = None
) -> Ranking:
    """Return the order in which to ask.

    Parameters
    ----------
    capability
        What is to be asked for; named in reasons.
    candidates
        In the order of the policy, each vendor once; one that is only asked for by name stands anywhere.
    now
        Seconds since the epoch.
    preferred
        The vendor that was asked for by name.
    """
    scores = {c.vendor: c.health.score(c.circuit.state_at(now)) for c in candidates}
    points = {vendor: round(score.total * _BILLION) for vendor, score in scores.items()}
    skipped = {c.vendor: why for c in candidates if (why := _why_not(capability, c, now)) is not None}
    able = [c.vendor for c in candidates if c.vendor not in skipped]
    bar = round(PASSED_OVER_BELOW * _BILLION)
    sound = _by_margin([v for v in able if points[v] >= bar], points)
    behind = _by_margin([v for v in able if points[v] < bar], points)
    order = [*sound, *behind]
    moved: dict[str, str] = {}
    late: set[str] = set()
    if order != able:
        moved, late = _moves(able, order, points, bar)
    if preferred in order:
        late = set()  # who asks for one vendor wants no other one tried before it
        order.remove(preferred)
        order.insert(0, preferred)
        moved[preferred] = "asked for by name"
    return Ranking(
        order=tuple(order),
        scores=scores,
        moved=moved,
        skipped=skipped,
        trials=tuple(c.vendor for c in candidates if c.vendor in late and _due_for_trial(c, now)),
    )


def _by_margin(vendors: Sequence[str], points: dict[str, int]) -> list[str]:
    margin = round(MARGIN * _BILLION)
    order: list[str] = []
    for vendor in vendors:
        place = len(order)
        while place and points[vendor] - points[order[place - 1]] > margin:
            place -= 1
        order.insert(place, vendor)
    return order


def _moves(
    able: Sequence[str], order: Sequence[str], points: dict[str, int], bar: int
) -> tuple[dict[str, str], set[str]]:
    """Return why vendors moved, and the set of those that others overtook."""
    place = {vendor: at for at, vendor in enumerate(order)}
    moved: dict[str, str] = {}
    late: set[str] = set()
    for at, vendor in enumerate(able):
        ahead = [other for other in able[at + 1 :] if place[other] < place[vendor]]
        if not ahead:
            continue
        late.add(vendor)
        score = points[vendor] / _BILLION
        if points[vendor] < bar:
            moved[vendor] = f"passed over: its score {score:.3f} is below {PASSED_OVER_BELOW:.2f}"
        else:
            moved[vendor] = f"behind {', '.join(ahead)}: its score {score:.3f} is lower by more than {MARGIN:.2f}"
    return moved, late


def _due_for_trial(candidate: Candidate, now: float) -> bool:
    if candidate.circuit.admits(now) is Admission.PROBE:
        return True
    return candidate.heard_at is None or now - candidate.heard_at >= TRIAL_AFTER_SECONDS


def _why_not(capability: Capability, candidate: Candidate, now: float) -> str | None:
    """Say why a vendor can't serve at `now`; None where it can."""
    if not candidate.offers:
        return f"does not offer {capability}"
    if candidate.missing_key is not None:
        return f"{candidate.missing_key} is not set"
    circuit = candidate.circuit
    match circuit.admits(now):
        case Admission.NOT_IN_PLAN:
            return f"not in this plan; asked again from {_instant(circuit.not_in_plan_until, now)}"
        case Admission.OPEN:
            return f"circuit open until {_instant(circuit.retry_at, now)} after {circuit.reason}"
        case Admission.PROBE_UNDER_WAY:
            return f"circuit half open, a probe is under way until {_instant(circuit.retry_at, now)}"
    if candidate.used_up_until is not None and now < candidate.used_up_until:
        return f"day budget used up until {_instant(candidate.used_up_until, now)}"
    return None


def _instant(at: float | None, now: float) -> str:
    """Return an instant for people: the time in UTC, and the date where it is another day's."""
    assert at is not None, "whoever waits knows until when"
    instant = datetime.fromtimestamp(at, UTC)
    same_day = instant.date() == datetime.fromtimestamp(now, UTC).date()
    return f"{instant:%H:%M:%SZ}" if same_day else f"{instant:%Y-%m-%d %H:%M:%SZ}"

"""How troubles, recoveries and successes read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from quantmatrix_pipeline.alerts.events import Run
from quantmatrix_pipeline.alerts.message import Message, Tone, cut
from quantmatrix_pipeline.alerts.runbook import anchor
from quantmatrix_pipeline.alerts.troubles import Group, Kind

LONGEST_TITLE, LONGEST_CAUSE = 240, 500
SHOWN = 10  # symbols, checks, runs
SHORT_ID = 8  # so much of a run's id the Dagster UI shows


@dataclass(frozen=True, slots=True)
class Links:
    """Where the Dagster UI and docs/operations.md are read."""

    ui: str
    runbook: str

    def run(self, run_id: str) -> str:
        return f"{self.ui.rstrip('/')}/runs/{run_id}"

    def heading(self, anchor: str) -> str:
        return f"{self.runbook}#{anchor}"


@dataclass(frozen=True, slots=True)
class Closed:
    """An incident that is over: as much of it as a recovery tells."""

    kind: str
    cause: str
    subjects: tuple[str, ...]
    occurrences: int
    opened_at: datetime


def trouble(group: Group, links: Links, occurrences: int = 1) -> Message:
    """Return the message of a group; `occurrences` counts those of its first cause since it was opened."""
    lead, runs = group.troubles[0], group.runs
    first = runs[0] if runs else None
    facts = {
        **_of_runs(runs),
        "symbols": _symbols(runs),
        "job": _listed(dict.fromkeys(run.job for run in runs)),
        "run": _ids(runs),
        "duration": "" if first is None else seconds(max(run.seconds for run in runs)),
        "pool": _listed(dict.fromkeys(run.pool for run in runs)),
        "counters": _counters(runs),
        "cause": cut(lead.cause, LONGEST_CAUSE),
        "failed checks": _listed(dict.fromkeys(check.name for run in runs for check in run.failed)),
        "assets": _listed(t.subject.split(":")[1] for t in group.troubles if t.kind is Kind.STALE_ASSET),
        "ticks of": _listed(_plain(t.subject) for t in group.troubles if t.kind is Kind.FAILING_TICK),
        "seen": f"{occurrences} times" if occurrences > 1 else "",
        "press": "" if lead.kind not in (Kind.FAILED_RUN, Kind.FAILED_CHECK) else _press(runs),
    }
    return Message(
        event={Kind.SLOW_RUN: "slow", Kind.STALE_ASSET: "stale"}.get(lead.kind, "failure"),
        tone=_tone(group),
        title=cut(_title(group), LONGEST_TITLE),
        facts={name: value for name, value in facts.items() if value},
        link=None if first is None else links.run(first.run_id),
        runbook=links.heading(anchor(group)),
    )


def recovery(closed: Sequence[Closed], now: datetime) -> Message:
    """Return the message that says that incidents are over."""
    subjects = list(dict.fromkeys(_plain(subject) for incident in closed for subject in incident.subjects))
    since = min(incident.opened_at for incident in closed)
    verb = "ended" if all(incident.kind == Kind.SLOW_RUN for incident in closed) else "RECOVERED"
    facts = {
        "since": f"{since:%Y-%m-%d %H:%M}Z",
        "lasted": duration(now - since),
        "occurrences": str(max(incident.occurrences for incident in closed)),
        "was": cut("; ".join(dict.fromkeys(incident.cause for incident in closed)), LONGEST_CAUSE),
    }
    return Message("recovery", Tone.GOOD, cut(f"{verb}: {_listed(subjects)}", LONGEST_TITLE), facts)


def success(run: Run, links: Links) -> Message:
    """Return the message of a run that went well, for who wants to hear of those too."""
    facts = {"run": run.run_id, "duration": seconds(run.seconds), "pool": run.pool, "counters": _counters([run])}
    return Message(
        "success",
        Tone.GOOD,
        f"OK {run.job}, {run.what}",
        {name: value for name, value in facts.items() if value},
        link=links.run(run.run_id),
    )


def seconds(count: float) -> str:
    return f"{count:.1f} s" if count < 120 else duration(timedelta(seconds=count))


def duration(span: timedelta) -> str:
    """Return a span as `3 min`, `2 h 5 min` or `4 d 1 h`."""
    minutes = max(0, round(span.total_seconds() / 60))
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _title(group: Group) -> str:
    lead, runs = group.troubles[0], group.runs
    what = runs[0].what if runs else ""
    more = f" (and {len(runs) - 1} more runs)" if len(runs) > 1 else ""
    if lead.kind is Kind.FAILED_RUN:
        verb = "ENDED AT ITS TIMEOUT" if runs[0].timed_out else "FAILED"
        return f"{verb} {runs[0].job}, {what}{more}: {lead.cause}"
    if lead.kind is Kind.FAILED_CHECK:
        others = len(group.troubles) - 1
        also = f" (and {others} more check{'s' if others > 1 else ''})" if others else ""
        severity = next(c.severity for run in runs for c in run.failed if f"check:{c.name}" == lead.subject)
        return f"CHECK {severity} {_plain(lead.subject)} failed{also}, {what}{more}: {lead.cause}"
    if lead.kind is Kind.SLOW_RUN:
        return f"SLOW {runs[0].job}, {what}: {lead.cause}"
    if lead.kind is Kind.FAILING_TICK:
        return f"TICKS FAIL of {_listed(_plain(t.subject) for t in group.troubles)}: {lead.cause}"
    count = len(group.troubles)
    return f"STALE {count} asset{'s' if count > 1 else ''}: {lead.cause}"


def _tone(group: Group) -> Tone:
    if any(t.kind in (Kind.FAILED_RUN, Kind.FAILING_TICK) for t in group.troubles):
        return Tone.ERROR
    errors = any(check.severity == "ERROR" for run in group.runs for check in run.failed)
    fails = any(t.subject.endswith(":FAIL") for t in group.troubles if t.kind is Kind.STALE_ASSET)
    return Tone.ERROR if errors or fails else Tone.WARNING


def _of_runs(runs: Sequence[Run]) -> Mapping[str, str]:
    if not runs:
        return {}
    return {"for": _listed(dict.fromkeys(run.what for run in runs)), **({"runs": str(len(runs))} if runs[1:] else {})}


def _ids(runs: Sequence[Run]) -> str:
    """Return the id of a run, which finds it anywhere; of several as the UI shows them, which has room for some."""
    return runs[0].run_id if len(runs) == 1 else _some(run.run_id[:SHORT_ID] for run in runs)


def _symbols(runs: Sequence[Run]) -> str:
    named = dict.fromkeys(s for run in runs for s in (*run.symbols, *(s for c in run.failed for s in c.symbols)))
    behind = [(run.stale, run.expected) for run in runs if run.stale is not None and run.expected]
    if not behind:
        return f"{len(named)}: {_some(named)}" if named else ""
    stale, expected = max(behind, key=lambda pair: pair[0] or 0)
    # Checks name the first of what they found: how many those are says nothing.
    return f"{stale} of {expected} without the session's bar" + (f", e.g. {_some(named)}" if named else "")


def _counters(runs: Sequence[Run]) -> str:
    total: dict[str, int | float] = {}
    for run in runs:
        for name, count in run.counters.items():
            total[name] = total.get(name, 0) + count
    return ", ".join(f"{name} {count:,}" for name, count in total.items() if count)


def _press(runs: Sequence[Run]) -> str:
    jobs = _listed(dict.fromkeys(run.job for run in runs))
    return f"{jobs} again when it is mended" if jobs else ""


def _plain(subject: str) -> str:
    kind, _, rest = subject.partition(":")
    return f"run {rest[:SHORT_ID]}" if kind == "run" else rest.split(":")[0]


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    return _some(every) + (f" ({len(every)})" if len(every) > SHOWN else "")


def _some(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:SHOWN]) + (", …" if len(every) > SHOWN else "")

"""Out of ended runs: what is broken, grouped so that one cause is one message, and what works again."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from quantmatrix_pipeline.alerts.events import FAILURE, SLOW, Run
from quantmatrix_pipeline.alerts.fingerprint import fingerprint


class Kind(StrEnum):
    """What sort of trouble it is."""

    FAILED_RUN = "failed_run"
    FAILED_CHECK = "failed_check"
    SLOW_RUN = "slow_run"
    STALE_ASSET = "stale_asset"
    FAILING_TICK = "failing_tick"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One occurrence of one cause.

    Attributes
    ----------
    key
        The same for each occurrence of the cause.
    subject
        What is broken by it, and can be well again: `job:...`, `check:...`, `run:...`, `asset:...`,
        `tick:...`.
    """

    key: str
    kind: Kind
    subject: str
    cause: str


@dataclass(frozen=True, slots=True)
class Group:
    """Occurrences that one message tells, the gravest first.

    Attributes
    ----------
    runs
        Those in which they occurred.
    owners
        Of what is broken without any run.
    """

    troubles: tuple[Trouble, ...]
    runs: tuple[Run, ...] = ()
    owners: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a number of ended runs come to.

    Attributes
    ----------
    groups
        What went wrong.
    well
        Subjects that work again, as far as anybody was told that they don't.
    over
        Subjects that are over without being mended, such as a slow run that then failed: nobody need be told.
    """

    groups: tuple[Group, ...]
    well: tuple[str, ...]
    over: tuple[str, ...]


def judge(runs: Sequence[Run], broken: Container[str] = ()) -> Verdict:
    """Work out what went wrong and what works again; of several runs the last to end decides.

    A run is one message, whatever failed in it; runs that failed for one cause are one message as well.

    Parameters
    ----------
    runs
        Ended ones, in the order in which they ended.
    broken
        Subjects that people know to be broken: a slow run among them was told while it ran.
    """
    found: dict[tuple[str, ...], tuple[dict[Trouble, None], list[Run]]] = {}
    state: dict[str, bool] = {}
    over: list[str] = []
    for run in runs:
        troubles = _of(run)
        if troubles:
            lead = (troubles[0].key,) if troubles[0].kind is Kind.FAILED_RUN else tuple(t.key for t in troubles)
            told, concerned = found.setdefault(lead, ({}, []))
            told.update(dict.fromkeys(troubles))
            concerned.append(run)
        state |= {f"check:{name}": True for name in run.passed}
        if run.outcome == "success":
            state[run.subject] = True
        noticed = f"run:{run.run_id}" in broken
        if run.outcome == "success" and noticed:
            state[f"run:{run.run_id}"] = True
        else:
            over.append(f"run:{run.run_id}")
            if run.outcome == "success" and (late := slow([run])):
                found[(late[0].troubles[0].key,)] = (dict.fromkeys(late[0].troubles), [run])
        state |= {t.subject: False for t in troubles}
    groups = tuple(Group(tuple(told), tuple(concerned)) for told, concerned in found.values())
    return Verdict(groups, tuple(subject for subject, well in state.items() if well), tuple(over))


def slow(runs: Iterable[Run]) -> tuple[Group, ...]:
    """Return a group for each run that takes, or took, longer than it is expected to."""
    return tuple(
        Group((Trouble(f"{Kind.SLOW_RUN}:{run.run_id}", Kind.SLOW_RUN, f"run:{run.run_id}", _slow_cause(run)),), (run,))
        for run in runs
        if SLOW in run.wishes.on and run.is_slow
    )


def stale(assets: Sequence[str], state: str, owners: Sequence[str] = ()) -> Group:
    """Return the group of assets whose freshness became `state`, WARN or FAIL; `owners` are theirs."""
    cause = f"not materialized within the {'warning' if state == 'WARN' else 'failing'} window of its freshness policy"
    key = f"{Kind.STALE_ASSET}:{state}"
    troubles = tuple(Trouble(key, Kind.STALE_ASSET, f"asset:{name}:{state}", cause) for name in assets)
    return Group(troubles, owners=tuple(owners))


def failing(ticks: Mapping[str, str], owners: Sequence[str] = ()) -> tuple[Group, ...]:
    """Return a group for each cause for which ticks fail.

    Parameters
    ----------
    ticks
        Name of a schedule or sensor -> what its last tick failed with.
    owners
        Whose they are.
    """
    by_cause: dict[str, list[Trouble]] = {}
    for name, cause in ticks.items():
        trouble = Trouble(f"{Kind.FAILING_TICK}:{name}", Kind.FAILING_TICK, f"tick:{name}", cause)
        by_cause.setdefault(fingerprint(cause), []).append(trouble)
    return tuple(Group(tuple(troubles), owners=tuple(owners)) for troubles in by_cause.values())


def _of(run: Run) -> list[Trouble]:
    """Return what went wrong in a run; a canceled one was ended by somebody who knows."""
    if FAILURE not in run.wishes.on:
        return []
    troubles = []
    # What a blocking check stopped is told by the check, with its counts.
    if run.outcome == "failure" and not (run.stopped_by_check and run.failed):
        cause = run.cause or "no cause was recorded"
        # A timeout does not say why: two jobs that hang have two causes.
        about = run.job if run.timed_out else run.error
        key = f"{Kind.FAILED_RUN}:{fingerprint(f'{about}: {cause}', run.symbols)}"
        troubles.append(Trouble(key, Kind.FAILED_RUN, run.subject, cause))
    graver_first = sorted(run.failed, key=lambda check: check.severity != "ERROR")
    troubles += [
        Trouble(f"{Kind.FAILED_CHECK}:{check.name}", Kind.FAILED_CHECK, f"check:{check.name}", check.found)
        for check in graver_first
    ]
    return troubles


def _slow_cause(run: Run) -> str:
    verb = "still running after" if run.outcome == "running" else "took"
    return f"{verb} {run.seconds:.0f} s, expected to take {run.wishes.slow_after_s:.0f} s at most"

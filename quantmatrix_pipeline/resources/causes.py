"""What to tell people of a failure: of a chain of errors our own, which says what to do, else the innermost one."""

from __future__ import annotations

import re

from dagster import DagsterEventType, DagsterInstance
from dagster_shared.error import SerializableErrorInfo

from quantmatrix_pipeline import errors

LONGEST = 500
# What Dagster's run monitoring says before it ends a run (in RUN_CANCELING) and afterwards (in RUN_FAILURE, unless the
# run's process or nobody had the last word).
_TIMEOUT = re.compile(r"exceed(?:ing|ed) (maximum runtime of \d+ seconds)", re.IGNORECASE)


def cause(error: SerializableErrorInfo | None) -> str:
    """Return the cause of a failure on one line, at most 500 characters, without the class of an error of ours."""
    chain = _chain(error)
    if not chain:
        return "no cause was recorded"
    ours = [e for e in chain if _kind(e) is not None]
    message = " ".join((ours or chain)[-1].message.split())
    return (message.split(": ", 1)[-1] if ours else message)[:LONGEST]


def error_class(error: SerializableErrorInfo | None) -> str | None:
    """Return the class of the error of ours in the chain, None where there is none."""
    kinds = [kind for e in _chain(error) if (kind := _kind(e)) is not None]
    return kinds[-1].__name__ if kinds else None


def timeout(message: str | None) -> str | None:
    """Return the cause where an event's message says that a run is ended since it took too long; None: it does not."""
    found = _TIMEOUT.search(message or "")
    return None if found is None else f"Exceeded {found[1]}."


def timed_out(instance: DagsterInstance, run_id: str) -> str | None:
    """Return the cause of a run that Dagster ended, or is ending, since it took too long; None: it does no such thing.

    Such a run is a failure by what the monitoring writes, canceled by what its own process writes, whoever is later.
    """
    said = {DagsterEventType.RUN_CANCELING, DagsterEventType.RUN_FAILURE}
    messages = [e.dagster_event.message for e in instance.all_logs(run_id, of_type=said) if e.dagster_event]
    return next((found for message in messages if (found := timeout(message))), None)


def exit_code(error: SerializableErrorInfo | None) -> int:
    """Return the exit code of the error of ours in the chain, 1 where there is none."""
    kinds = [kind for e in _chain(error) if (kind := _kind(e)) is not None]
    return kinds[-1].exit_code if kinds else errors.QuantMatrixError.exit_code


def _chain(error: SerializableErrorInfo | None) -> list[SerializableErrorInfo]:
    chain: list[SerializableErrorInfo] = []
    while error is not None:
        chain.append(error)
        error = error.cause
    return chain


def _kind(error: SerializableErrorInfo) -> type[errors.QuantMatrixError] | None:
    kind = getattr(errors, (error.cls_name or "").split(".")[-1], None)
    return kind if isinstance(kind, type) and issubclass(kind, errors.QuantMatrixError) else None

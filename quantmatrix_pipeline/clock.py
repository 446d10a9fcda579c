"""The only reader of the wall clock.

Nothing on the compute path calls this: a session goes in, the same numbers come out. It says when something was
learned (`as_of`) and which session closed last. `QM_NOW` (an ISO 8601 instant with an offset) freezes it for drills,
tests and reruns of an old night.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

from quantmatrix_pipeline.errors import ConfigurationError

ENV_NOW = "QM_NOW"


def now() -> datetime:
    """Return the present instant in UTC, or the one that `QM_NOW` names.

    Raises
    ------
    ConfigurationError
        If `QM_NOW` is no ISO 8601 instant, or names no offset from UTC.
    """
    frozen = os.environ.get(ENV_NOW)
    if not frozen:
        return datetime.now(UTC)
    try:
        instant = datetime.fromisoformat(frozen)
    except ValueError as error:
        raise ConfigurationError(
            f"{ENV_NOW}={frozen!r} is no ISO 8601 instant, such as 2021-12-31T22:00:00Z"
        ) from error
    if instant.tzinfo is None:
        raise ConfigurationError(f"{ENV_NOW}={frozen!r} has no offset from UTC; write {frozen}Z for UTC")
    return instant.astimezone(UTC)


def wall() -> float:
    """Return the present instant in seconds since 1970 (UTC), whatever `QM_NOW` says.

    A vendor counts calls and ends pauses by its own clock. A drill that lets another night be now must not make it
    count anew.
    """
    return time.time()

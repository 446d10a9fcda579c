"""What the backups say: how old the newest is, and whether it was proved."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from quantmatrix_pipeline.health.finding import Finding, bad, note, ok

# The packaged schedule takes one a week and proves one a month: a week and a day, and five weeks.
NOTED_AFTER = timedelta(days=8)
BAD_AFTER = timedelta(days=35)


def backup(name: str, taken_at: datetime, proved_at: datetime | None, faults: Sequence[str], now: datetime) -> Finding:
    """Judge the newest complete backup.

    Parameters
    ----------
    proved_at, faults
        When it was put back on trial, None: never; and what differed then.
    now
        By the machine's clock, as `taken_at` is.
    """
    age = now - taken_at
    told = f"the newest is {name}, {age.days} days old"
    if faults:
        return bad("backup", f"{name} does not restore: {faults[0]}; take another")
    if age > BAD_AFTER:
        return bad("backup", f"{told}; is the schedule weekly_backup on? `qm backup create` takes one")
    if age > NOTED_AFTER:
        return note("backup", f"{told}, older than a week; is the schedule weekly_backup on?")
    if proved_at is None:
        return note("backup", f"{told}, and was never proved; `qm backup verify` does")
    return ok("backup", f"{told}, proved {proved_at:%Y-%m-%d}")

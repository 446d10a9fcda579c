"""Which sessions had closed when an answer came: by the exchange's own hours, half days among them."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from quantmatrix_pipeline.providers.vendors.shared.market_hours import closed_sessions, has_closed

NEW_YORK = ZoneInfo("America/New_York")
WEEK = np.array(["2026-11-25", "2026-11-27", "2026-11-30"], "datetime64[D]")  # Thanksgiving is no session


@pytest.mark.parametrize(
    ("at", "closed"),
    [
        ("2026-11-25T15:59:59", 0),
        ("2026-11-25T16:00:00", 1),
        ("2026-11-26T17:00:00", 1),
        ("2026-11-27T12:59:59", 1),
        ("2026-11-27T13:00:00", 2),  # a half day: nobody waits until four
        ("2026-11-29T17:00:00", 2),
        ("2026-11-30T16:00:00", 3),
    ],
)
def test_a_session_has_closed_when_the_exchange_did(at: str, closed: int) -> None:
    instant = datetime.fromisoformat(at).replace(tzinfo=NEW_YORK)
    assert closed_sessions(WEEK, instant).tolist() == [True] * closed + [False] * (3 - closed)
    assert has_closed(date(2026, 11, 27), instant) == (closed >= 2)

"""When a backfill leaves the rest of a vendor's day to tonight's chain."""

from __future__ import annotations

import pytest

from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.routing.budget_ledger import Room
from quantmatrix_pipeline.providers.routing.circuit import Circuit
from quantmatrix_pipeline.providers.routing.health import Health
from quantmatrix_pipeline.providers.routing.limits import Limits
from quantmatrix_pipeline.providers.routing.overview import VendorView, spent_for_today, view

DAILY = (Capability.DAILY_BARS, Capability.GROUPED_BARS)


def vendor(
    name: str, left: int | None, *, per_day: int | None = 100, key: bool = True, quotes: bool = False
) -> VendorView:
    capability = Capability.QUOTES if quotes else Capability.DAILY_BARS
    limits = Limits(per_minute=5, per_day=per_day)
    room = Room(5, left, 0.0, None, None, 5, 0, 0 if left is None or per_day is None else per_day - left)
    missing = None if key else f"{name.upper()}_API_KEY"
    return view(name, missing, {capability: Circuit()}, Health(), None, limits, room, 0.0)


@pytest.mark.parametrize(("left", "spent"), [(100, False), (51, False), (50, True), (0, True)])
def test_half_a_day_of_calls_is_what_a_backfill_may_use(left: int, spent: bool) -> None:
    why = spent_for_today([vendor("fmp", left)], DAILY, 0.5)
    assert why == (f"the calls left of today are tonight's: fmp {left} of 100" if spent else None)


def test_the_share_is_the_settings_and_none_of_it_stops_at_once() -> None:
    assert spent_for_today([vendor("fmp", 11)], DAILY, 0.9) is None
    assert spent_for_today([vendor("fmp", 10)], DAILY, 0.9) is not None
    assert spent_for_today([vendor("fmp", 100)], DAILY, 0) is not None
    assert spent_for_today([vendor("fmp", 1)], DAILY, 1) is None


def test_one_vendor_with_calls_to_spare_or_without_a_limit_is_enough() -> None:
    spent = vendor("fmp", 3)
    assert "fmp 3 of 100, polygon 40 of 100" in (spent_for_today([spent, vendor("polygon", 40)], DAILY, 0.5) or "")
    assert spent_for_today([spent, vendor("polygon", 90)], DAILY, 0.5) is None
    assert spent_for_today([spent, vendor("yfinance", None, per_day=None)], DAILY, 0.5) is None


def test_who_can_not_be_asked_for_daily_bars_has_no_say() -> None:
    keyless, other = vendor("polygon", 100, key=False), vendor("finnhub", 100, quotes=True)
    assert spent_for_today([vendor("fmp", 3), keyless, other], DAILY, 0.5) is not None
    assert spent_for_today([keyless, other], DAILY, 0.5) is None

"""What assets, checks, schedules and sensors are handed: settings, the warehouse, the source, the calendar, the
cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

from dagster import ConfigurableResource, InitResourceContext
from pydantic import PrivateAttr

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.bars.reconcile.classify import Limits
from quantmatrix_pipeline.bars.sessions import TradingCalendar, trading_calendar
from quantmatrix_pipeline.bars.thresholds import Thresholds
from quantmatrix_pipeline.errors import VendorUnavailable
from quantmatrix_pipeline.ingest.backfill import Pace
from quantmatrix_pipeline.ingest.corrections import Tolerance
from quantmatrix_pipeline.ingest.mend import OFF
from quantmatrix_pipeline.providers.contract import Capability, KeepsHistory, MemberSource, Provider
from quantmatrix_pipeline.providers.routing.overview import VendorView, used_up
from quantmatrix_pipeline.providers.routing.router import RoutedMembers, Router
from quantmatrix_pipeline.providers.select import Selection, build_for, constituents_sources
from quantmatrix_pipeline.resources.cache import Cache
from quantmatrix_pipeline.resources.run_record import Recorder
from quantmatrix_pipeline.settings import Settings, load
from quantmatrix_pipeline.snapshots.method import Method
from quantmatrix_pipeline.warehouse.backfill import TIERS
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import open_writer

TICK_SECONDS = 45.0  # Dagster gives up on a tick of 60, without saying what took so long
BARS = (Capability.DAILY_BARS, Capability.GROUPED_BARS)


class Platform(ConfigurableResource):  # type: ignore[type-arg]
    """Everything a step needs, built from the environment when it is first asked for, anew in each run and tick."""

    _run_id: str | None = PrivateAttr(default=None)
    _budget_seconds: float | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: InitResourceContext) -> None:
        # Of a schedule or a sensor there is no run.
        self._budget_seconds = TICK_SECONDS if context.run is None else None
        self._run_id = None if context.run is None else context.run.run_id
        if context.run is not None and context.instance is not None:
            Recorder.begin(self.settings, context.instance, context.run)

    @cached_property
    def settings(self) -> Settings:
        return load()

    @cached_property
    def warehouse(self) -> Warehouse:
        """The warehouse; in a tick one whose statements end when the tick's time is over."""
        return open_writer(self.settings, budget_seconds=self._budget_seconds)

    @cached_property
    def calendar(self) -> TradingCalendar:
        return trading_calendar(self.settings.calendar)

    @cached_property
    def selection(self) -> Selection:
        """The source of bars and why it was chosen.

        Raises
        ------
        VendorUnavailable
            `auto` found nothing but the sample, and the warehouse already holds another source's bars: a network that
            is down for a night must not mix five stocks of 2013 into them.
        """
        return build_for(self.settings, self.warehouse, run_id=self._run_id)

    @property
    def source(self) -> Provider:
        return self.selection.provider

    @property
    def past(self) -> KeepsHistory | None:
        """The source, where it knows how names and index members changed over time."""
        return self.source if isinstance(self.source, KeepsHistory) else None

    @property
    def router(self) -> Router | None:
        """The vendors, where they are the source; files and the sample do without any network."""
        return self.source if isinstance(self.source, Router) else None

    def vendors(self) -> tuple[Router | None, str]:
        """Return the vendors and why it is they; where no source answers at the moment, nobody and the reason."""
        try:
            return self.router, self.selection.reason
        except VendorUnavailable as error:
            return None, str(error)

    @cached_property
    def member_sources(self) -> Sequence[MemberSource]:
        """Who is asked for index members, in order."""
        return constituents_sources(self.settings, self.source, self.warehouse, run_id=self._run_id)

    @property
    def members_router(self) -> Router | None:
        """The vendors of index members, which are asked beside a folder of files too; None where nobody is."""
        return next((source.router for source in self.member_sources if isinstance(source, RoutedMembers)), None)

    @cached_property
    def cache(self) -> Cache:
        return Cache(self.settings.redis_url)

    @property
    def grace(self) -> timedelta:
        return timedelta(minutes=self.settings.close_grace_minutes)

    @property
    def tolerance(self) -> Tolerance:
        """Up to which difference a bar that comes again says the same."""
        return Tolerance(self.settings.price_tolerance, self.settings.volume_tolerance)

    @property
    def reconcile_limits(self) -> Limits:
        """Up to which difference two vendors agree on a bar."""
        return Limits(self.settings.reconcile_price_percent / 100, self.settings.reconcile_volume_percent / 100)

    @property
    def thresholds(self) -> Thresholds:
        """From where on bars are flagged."""
        return Thresholds.of(self.settings)

    @property
    def repair_at(self) -> float:
        """The confidence from which a faulty bar is repaired."""
        return self.settings.repair_confidence if self.settings.repair else OFF

    @property
    def fetching(self) -> dict[str, Any]:
        """How bars are fetched and judged, as the keywords of `ingest.daily`."""
        return {
            "concurrency": self.settings.fetch_concurrency,
            "lock_wait_seconds": self.settings.lock_wait_seconds,
            "tolerance": self.tolerance,
            "repair_at": self.repair_at,
            "thresholds": self.thresholds,
        }

    def bar_vendors(self) -> list[VendorView]:
        """Return what is known of the vendors that the policy lets serve daily bars; asks none of them."""
        if self.router is None:
            return []
        named = {name for capability in BARS for name in self.router.policies.of(capability)}
        return [v for v in asyncio.run(self.router.look()) if v.name in named]

    def out_of_calls(self) -> str | None:
        """Say until when none of them may be asked any more; None while one may."""
        return used_up(self.bar_vendors(), BARS, clock.wall())

    @property
    def backfill_pace(self) -> Pace:
        """How hard the backfill queue is worked."""
        s = self.settings
        each = (s.backfill_max_concurrency_t0, s.backfill_max_concurrency_t1, s.backfill_max_concurrency_t2)
        return Pace(dict(zip(TIERS, each, strict=True)), s.backfill_dispatch_rate_per_sec)

    @property
    def benchmark(self) -> str:
        """The canonical symbol that is always tracked: QM_BENCHMARK, else SPY, or what the sample has in its place."""
        return self.settings.benchmark or ("IBM" if self.source.name == "sample" else "SPY")

    @property
    def method(self) -> Method:
        """By which settings snapshots and history are computed; nothing here asks the source."""
        return Method.of(self.settings)

    def newest_session(self, at: datetime | None = None) -> date:
        """Return the newest session that had closed (plus grace) by `at`, now by default, and that the source can
        serve.
        """
        return self.source.newest_session(self.calendar.newest_closed(at or clock.now(), self.grace))

    def teardown_after_execution(self, context: object) -> None:
        if "warehouse" in self.__dict__:
            self.warehouse.close()

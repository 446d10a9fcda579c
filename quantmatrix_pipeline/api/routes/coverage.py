"""`/market-data/coverage`: how fresh and complete the tracked set is, and one symbol of it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.api.models.coverage import Coverage, SymbolCoverage
from quantmatrix_pipeline.api.parameters import AppSettings, Asof, OpenWarehouse, SymbolPath
from quantmatrix_pipeline.api.problems import documented
from quantmatrix_pipeline.api.representations import json_response
from quantmatrix_pipeline.bars.sessions import TradingCalendar, trading_calendar
from quantmatrix_pipeline.coverage.report import BUCKETS, FRESH, bucket_of
from quantmatrix_pipeline.warehouse import coverage as tables
from quantmatrix_pipeline.warehouse import reads, universe
from quantmatrix_pipeline.warehouse.instruments import Instrument

router = APIRouter(prefix="/market-data", tags=["coverage"])

_NO_BARS: dict[str, Any] = {"enabled": False, "count": 0}


@router.get("/coverage", response_model=Coverage, responses=documented(304, 422, 503))
def whole(request: Request, warehouse: OpenWarehouse) -> Response:
    """Return the newest coverage report, and beside it the newest bar of every tracked symbol as of now."""
    newest = tables.newest(warehouse)
    last = dict(zip(*(column.to_pylist() for column in reads.last_bars(warehouse).columns), strict=True))
    report = newest[0] if newest else {}
    return json_response(
        request,
        {
            "symbols": reads.symbol_count(warehouse),
            "tracked_count": len(last),
            "indices": universe.index_counts(warehouse),
            "daily": {
                "enabled": True,
                "count": sum(session is not None for session in last.values()),
                "last": last,
                "freshness": {bucket: report.get("buckets", {}).get(bucket, 0) for bucket in BUCKETS},
                "stale": {bucket: report.get("stale", {}).get(bucket, []) for bucket in BUCKETS if bucket != FRESH},
            },
            "m5": _NO_BARS | {"last": {}, "freshness": {}, "stale": {}},
            "status": report.get("status", "unknown"),
            "headline": report.get("headline", "no coverage report was made yet -> press restore_daily_coverage"),
            "meta": {
                "source": "coverage_snapshots" if newest else "none",
                "updated_at": newest[1] if newest else None,
                "session": report.get("session"),
            },
        },
    )


@router.get("/coverage/{symbol}", response_model=SymbolCoverage, responses=documented(304, 404, 422, 503))
def one(
    request: Request, warehouse: OpenWarehouse, settings: AppSettings, symbol: SymbolPath, asof: Asof = None
) -> Response:
    """Return what is stored of one symbol and its age in sessions, as of now."""
    instrument = reads.find_instrument(warehouse, symbol, asof)
    stored = reads.symbol_coverage(warehouse, instrument.instrument_id)
    grace = timedelta(minutes=settings.close_grace_minutes)
    calendar = trading_calendar(settings.calendar)
    age, freshness, session = _age(calendar, instrument, stored["last_session"], grace)
    expiry = stored["expiry_timestamp"]
    return json_response(
        request,
        {
            "symbol": instrument.symbol,
            "tracked": stored["tracked"],
            "reasons": stored["reasons"] or [],
            "indices": stored["indices"],
            "daily": {
                "enabled": True,
                "count": stored["bars"],
                "first": stored["first_session"],
                "last": stored["last_session"],
                "flagged": stored["flagged"],
                "age_sessions": age,
                "freshness": freshness,
            },
            "m5": _NO_BARS | {"first": None, "last": None, "flagged": 0, "age_sessions": None, "freshness": None},
            "snapshot_session": stored["snapshot_session"],
            "snapshot_expired": None if expiry is None else expiry <= clock.now(),
            "meta": {"source": "price_data", "updated_at": stored["updated_at"], "session": session},
        },
    )


def _age(
    calendar: TradingCalendar, instrument: Instrument, last: date | None, grace: timedelta
) -> tuple[int | None, str, date]:
    """Return how many sessions closed (plus grace) after the last bar, the bucket, and as of which session."""
    session = calendar.newest_closed(clock.now(), grace)
    age = None if last is None else int(calendar.age(np.array([last], "datetime64[D]"), session)[0])
    delisted = instrument.delisted_on is not None and instrument.delisted_on <= session
    return age, "delisted" if delisted else bucket_of(age), session

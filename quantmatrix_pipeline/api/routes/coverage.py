"""`/market-data/coverage`: how fresh and complete the tracked set is, and one symbol of it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.api.models.coverage import Coverage, CoverageHistory, SymbolCoverage
from quantmatrix_pipeline.api.parameters import (
    AppSettings,
    Asof,
    End,
    Limit,
    OpenWarehouse,
    Start,
    SymbolPath,
    ordered,
)
from quantmatrix_pipeline.api.problems import documented
from quantmatrix_pipeline.api.representations import ROWS, json_response, rows_response
from quantmatrix_pipeline.bars.sessions import TradingCalendar, trading_calendar
from quantmatrix_pipeline.coverage.standing import standing
from quantmatrix_pipeline.coverage.state import BUCKETS, FRESH, bucket_of
from quantmatrix_pipeline.warehouse import coverage_fill, reads, universe
from quantmatrix_pipeline.warehouse.instruments import Instrument

router = APIRouter(prefix="/market-data", tags=["coverage"])

_NO_BARS: dict[str, Any] = {"enabled": False, "count": 0}


@router.get("/coverage", response_model=Coverage, responses=documented(304, 422, 503))
def whole(request: Request, warehouse: OpenWarehouse, settings: AppSettings) -> Response:
    """Return the newest coverage report, and beside it what is true now: the newest bars, the state, what to press."""
    now = standing(warehouse, trading_calendar(settings.calendar), clock.now())
    last = dict(zip(*(column.to_pylist() for column in reads.last_bars(warehouse).columns), strict=True))
    report = now.report or {}
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
            "by_index": report.get("by_index", {}),
            "by_tier": report.get("by_tier", {}),
            "status": now.status,
            "reasons": now.reasons,
            "job": now.job,
            "headline": now.headline,
            "meta": {
                "source": "none" if now.report is None else "coverage_snapshots",
                "updated_at": now.computed_at,
                "session": report.get("session"),
            },
        },
    )


@router.get(
    "/coverage/history",
    response_model=CoverageHistory,
    responses={200: {"content": ROWS}, **documented(304, 406, 422, 503)},
)
def history(
    request: Request, warehouse: OpenWarehouse, start: Start = None, end: End = None, limit: Limit = None
) -> Response:
    """Return how full each session is: instruments that should have a bar, that have one, that have a recorded row."""
    ordered(start, end)
    return rows_response(request, coverage_fill.between(warehouse, start, end, limit))


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

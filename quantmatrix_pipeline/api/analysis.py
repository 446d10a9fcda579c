"""Snapshots as bodies: which columns they have, whether they are expired, how high a volatility is."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from http import HTTPStatus
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import from_json

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.api.problems import RequestError
from quantmatrix_pipeline.bars.batch import Floats
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.indicators import engine
from quantmatrix_pipeline.indicators.catalogue import COLUMNS
from quantmatrix_pipeline.indicators.raw_analysis import payloads
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.snapshots.method import Method
from quantmatrix_pipeline.snapshots.panel import read_panel
from quantmatrix_pipeline.warehouse import reads
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.instruments import Instrument

COLUMN_NAMES = tuple(column.name for column in COLUMNS)

REGIME_WINDOW = 252
FEWEST_OBSERVATIONS = 20
_REGIMES = ((25.0, "LOW"), (75.0, "MEDIUM"), (90.0, "HIGH"))


def flagged(rows: pa.Table, settings: Settings, as_of: datetime | None) -> pa.Table:
    """Return snapshot rows with `expired` after `expiry_timestamp`: whether that instant has come, now or by `as_of`.

    Of rows as known at an instant the expiry is worked out: the history keeps none.
    """
    if as_of is not None:
        calendar, grace = trading_calendar(settings.calendar), timedelta(minutes=settings.close_grace_minutes)
        due = [calendar.expiry(day, grace) for day in rows["session"].to_pylist()]
        at = rows.column_names.index("close")
        rows = rows.add_column(at, "expiry_timestamp", pa.array(due, pa.timestamp("us", "UTC")))
    now = pa.scalar(as_of or clock.now(), pa.timestamp("us", "UTC"))
    at = rows.column_names.index("expiry_timestamp")
    return rows.add_column(at + 1, "expired", pc.less_equal(rows["expiry_timestamp"], now))


def require_snapshot(
    warehouse: Warehouse, instrument: Instrument, settings: Settings, as_of: datetime | None = None
) -> dict[str, Any]:
    """Return an instrument's latest snapshot, as known now or at `as_of`, with its `expired` flag.

    Raises
    ------
    RequestError
        404, where none was computed yet.
    """
    rows = reads.snapshot(warehouse, instrument.instrument_id, COLUMN_NAMES, as_of)
    if rows.num_rows == 0:
        raise _no_snapshot(instrument, as_of)
    row: dict[str, Any] = flagged(rows, settings, as_of).to_pylist()[0]
    return row


def _no_snapshot(instrument: Instrument, as_of: datetime | None = None) -> RequestError:
    return RequestError(
        HTTPStatus.NOT_FOUND,
        "no-snapshot",
        f"{instrument.symbol} is known and has no snapshot yet: indicators are computed after its bars are stored"
        if as_of is None
        else f"{instrument.symbol} is known, and no row of its history had been recorded by {as_of.isoformat()}",
    )


def raw_analysis_at(
    warehouse: Warehouse, instrument: Instrument, session: date, method: Method, as_of: datetime | None = None
) -> dict[str, Any]:
    """Return what of an instrument's analysis at a session does not fit in columns, from its bars up to that session.

    Raises
    ------
    RequestError
        404, where no bar of that session is stored that can be used; names the one before.
    """
    panel = read_panel(warehouse, session, [instrument.instrument_id], as_of=as_of)
    panel = replace(panel, stage_rules=method.stage_rules)
    newest = panel.session[-1, 0].item() if panel.width else None
    if newest != session:
        raise RequestError(
            HTTPStatus.NOT_FOUND,
            "no-bar",
            f"{instrument.symbol} has no usable bar of {session}; the newest up to then is of {newest or 'no session'}",
        )
    return {"symbol": instrument.symbol, "session": session, **payloads(panel)[0]}


def raw_analysis(
    warehouse: Warehouse, instrument: Instrument, method: Method, as_of: datetime | None = None
) -> dict[str, Any]:
    """Return that of the latest snapshot as it is stored, computed where a release before left it empty; as known at an
    instant that of the newest session recorded then, from the bars known then.

    Raises
    ------
    RequestError
        404, where no snapshot was computed yet.
    """
    if as_of is not None:
        known = reads.snapshot(warehouse, instrument.instrument_id, (), as_of)
        if known.num_rows == 0:
            raise _no_snapshot(instrument, as_of)
        return raw_analysis_at(warehouse, instrument, known["session"][0].as_py(), method, as_of)
    found = reads.raw_analysis(warehouse, instrument.instrument_id)
    if found is None:
        raise _no_snapshot(instrument)
    session, stored = found
    if stored is None:
        return raw_analysis_at(warehouse, instrument, session, method)
    return {"symbol": instrument.symbol, "session": session, **from_json(stored)}


def percentile_rank(values: Floats) -> float:
    """Return the percentile rank of the last value among all of them, 0 < rank <= 100; ties share their mean rank."""
    last = values[-1]
    below, equal = int((values < last).sum()), int((values == last).sum())
    return 100.0 * (below + (equal + 1) / 2) / len(values)


def regime(percentile: float) -> str:
    """Name the volatility regime of a percentile rank: LOW to 25, MEDIUM to 75, HIGH to 90, inclusive, else EXTREME."""
    return next((name for limit, name in _REGIMES if percentile <= limit), "EXTREME")


def volatility(
    warehouse: Warehouse, instrument: Instrument, settings: Settings, as_of: datetime | None = None
) -> dict[str, Any]:
    """Return the body of `/market/atr`: the snapshot's ATR and its rank among the 252 newest bars.

    The values before it are computed from the stored bars, not read from the history, which may have begun yesterday.
    """
    head = require_snapshot(warehouse, instrument, settings, as_of)
    current = head["atrp_14"]
    panel = read_panel(warehouse, head["session"], [instrument.instrument_id], as_of=as_of)
    values = engine.compute(panel, columns=["atrp_14"])[:, 0, 0] if panel.width else np.empty(0)
    observed = values[np.isfinite(values)][-REGIME_WINDOW:]
    enough = current is not None and len(observed) >= FEWEST_OBSERVATIONS
    percentile = percentile_rank(observed) if enough else None
    return {
        "symbol": head["symbol"],
        "session": head["session"],
        "expiry_timestamp": head["expiry_timestamp"],
        "expired": head["expired"],
        "atr": head["atr_14"],
        "atrp": current,
        "percentile": percentile,
        "observations": len(observed),
        "regime": None if percentile is None else regime(percentile),
    }

"""Stored bars: `/historical/{symbol}`, `/market/prices`, `/market-data/db/history`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Query, Request, Response

from quantmatrix_pipeline.api.models.bars import Historical, Prices, StoredBars
from quantmatrix_pipeline.api.moment import Moment
from quantmatrix_pipeline.api.parameters import (
    Asof,
    End,
    Limit,
    OpenWarehouse,
    Start,
    SymbolPath,
    SymbolQuery,
    ordered,
)
from quantmatrix_pipeline.api.problems import RequestError, documented
from quantmatrix_pipeline.api.representations import ROWS, rows_response
from quantmatrix_pipeline.bars.adjustment import Adjust
from quantmatrix_pipeline.bars.dividends import Convention
from quantmatrix_pipeline.bars.rules import USABLE_QUALITY
from quantmatrix_pipeline.bars.series import Wanted, adjusted_sources, series
from quantmatrix_pipeline.bars.stored import Sources
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse import reads
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.instruments import Instrument

router = APIRouter(tags=["bars"])


log = logging.getLogger(__name__)

Interval = Annotated[Literal["1d"], Query(description="length of a bar; daily bars are what is stored so far")]
Range = Annotated[
    str,
    Query(pattern=r"^([1-9]\d{0,4}d|max)$", description="the newest sessions, such as 200d, or max", examples=["200d"]),
]
_ADJUST = (
    "raw: as traded, 409 where that is unknown; split: in shares of the newest session returned; total_return: with"
    " dividends reinvested as well"
)
AdjustQuery = Annotated[Adjust | None, Query(description=f"{_ADJUST}; left out: on the basis they are stored in")]
ConventionQuery = Annotated[
    Convention,
    Query(description="by which close a dividend is measured: 1 - d / C(t-1), or 1 / (s + d / C(t))"),
]


@router.get(
    "/historical/{symbol}",
    response_model=Historical,
    responses={200: {"content": ROWS}, **documented(304, 404, 406, 422, 503)},
)
def historical(
    request: Request,
    warehouse: OpenWarehouse,
    symbol: SymbolPath,
    start: Start = None,
    end: End = None,
    validated_only: Annotated[bool, Query(description="only validated bars")] = False,
    min_quality: Annotated[float, Query(ge=0, le=1, description="only bars of this score or more")] = USABLE_QUALITY,
    adjust: AdjustQuery = None,
    convention: ConventionQuery = Convention.PREVIOUS_CLOSE,
    asof: Asof = None,
    as_of: Moment = None,
) -> Response:
    """Return daily bars with their quality, in the series asked for, the factor beside each price."""
    ordered(start, end)
    instrument = reads.find_instrument(warehouse, symbol, asof)
    rows = reads.daily_bars(
        warehouse,
        instrument.instrument_id,
        columns=(*reads.BAR_COLUMNS, "source_id"),
        start=start,
        end=end,
        min_quality=min(USABLE_QUALITY, min_quality),  # dividends are measured by usable bars, whichever are returned
        as_of=as_of,
    )
    wanted, adjusted_to = Wanted(adjust, convention), _edge(rows, "session", -1)
    rows = _series(warehouse, instrument, rows, wanted, tables.sources(warehouse), as_of).drop_columns("source_id")
    rows = rows.filter(pc.greater_equal(rows["quality_score"], min_quality))
    if validated_only:
        rows = rows.filter(rows["validated"])
    rows = rows.rename_columns({"session": "time"}).add_column(1, "symbol", _repeated(instrument.symbol, rows))
    return rows_response(
        request,
        rows,
        symbol=instrument.symbol,
        **_named(wanted, adjusted_to),
        start_date=start or _edge(rows, "time", 0),
        end_date=end or _edge(rows, "time", -1),
        known_at=as_of,
    )


@router.get(
    "/market-data/db/history",
    response_model=StoredBars,
    responses={200: {"content": ROWS}, **documented(304, 404, 406, 422, 503)},
)
def stored_history(
    request: Request,
    warehouse: OpenWarehouse,
    symbol: SymbolQuery,
    interval: Interval = "1d",
    start: Start = None,
    end: End = None,
    limit: Limit = None,
    adjust: AdjustQuery = None,
    convention: ConventionQuery = Convention.PREVIOUS_CLOSE,
    asof: Asof = None,
    as_of: Moment = None,
) -> Response:
    """Return bars of any score, each with its source, basis, version, factor and the moment it was learned."""
    ordered(start, end)
    instrument = reads.find_instrument(warehouse, symbol, asof)
    rows = reads.daily_bars(
        warehouse,
        instrument.instrument_id,
        columns=(*reads.BAR_COLUMNS, "source_id", "version", "as_of", "status", "reason"),
        start=start,
        end=end,
        newest=limit,
        as_of=as_of,
    )
    wanted, sources = Wanted(adjust, convention), tables.sources(warehouse)
    rows = _with_sources(_series(warehouse, instrument, rows, wanted, sources, as_of), sources)
    named = _named(wanted, _edge(rows, "session", -1))
    return rows_response(request, rows, symbol=instrument.symbol, interval=interval, **named, known_at=as_of)


@router.get(
    "/market/prices",
    response_model=Prices,
    responses={200: {"content": ROWS}, **documented(304, 404, 406, 409, 422, 503)},
)
def prices(
    request: Request,
    warehouse: OpenWarehouse,
    symbol: SymbolQuery,
    range: Range = "200d",  # noqa: A002 - the parameter's name on the wire
    interval: Interval = "1d",
    adjust: Annotated[Adjust, Query(description=_ADJUST)] = Adjust.SPLIT,
    convention: ConventionQuery = Convention.PREVIOUS_CLOSE,
    asof: Asof = None,
    as_of: Moment = None,
) -> Response:
    """Return the price series of usable bars in the series asked for, the factor beside each price."""
    instrument = reads.find_instrument(warehouse, symbol, asof)
    rows = reads.daily_bars(
        warehouse,
        instrument.instrument_id,
        columns=(*tables.PRICES, "quality_score", "source_id"),
        min_quality=USABLE_QUALITY,
        newest=None if range == "max" else int(range.removesuffix("d")),
        as_of=as_of,
    )
    wanted, sources = Wanted(adjust, convention), tables.sources(warehouse)
    rows = _series(warehouse, instrument, rows, wanted, sources, as_of)
    basis = _by_source(rows, {number: basis for number, (_, basis, _) in sources.items()}, pa.string())
    named = _named(wanted, _edge(rows, "session", -1))
    rows = rows.drop_columns(["quality_score", "source_id"]).rename_columns({"session": "time"})
    return rows_response(
        request,
        rows.append_column("basis", basis),
        symbol=instrument.symbol,
        range=range,
        interval=interval,
        **named,
        known_at=as_of,
    )


def _series(
    warehouse: Warehouse,
    instrument: Instrument,
    rows: pa.Table,
    wanted: Wanted,
    sources: Sources,
    as_of: datetime | None,
) -> pa.Table:
    """Return the bars of one instrument in the series wanted, with their factors, by the actions known at `as_of`."""
    if wanted.adjust is Adjust.RAW:
        _refuse_adjusted(instrument, rows, sources)
    own = pa.repeat(pa.scalar(instrument.instrument_id, pa.int32()), rows.num_rows)
    rows, refused = series(
        rows.append_column("instrument_id", own),
        wanted,
        sources,
        reads.splits(warehouse, instrument.instrument_id, as_of),
        reads.dividends(warehouse, instrument.instrument_id, as_of),
    )
    for dividend in refused:
        log.warning("%s: %s", instrument.symbol, dividend)
    return rows.drop_columns("instrument_id")


def _named(wanted: Wanted, newest: object) -> dict[str, object]:
    """Return how the series is called: what it is adjusted for, to which session, by which convention."""
    moved = wanted.adjust in (Adjust.SPLIT, Adjust.TOTAL_RETURN)
    return {"adjust": wanted.adjust, "convention": wanted.by, "adjusted_to": newest if moved else None}


def _refuse_adjusted(instrument: Instrument, rows: pa.Table, sources: Sources) -> None:
    """Refuse to call prices raw that their vendor had adjusted.

    Raises
    ------
    RequestError
        409, naming each basis that stands in the way, its date and its vendor.
    """
    adjusted = adjusted_sources(rows["source_id"].to_numpy(), sources)
    if not adjusted:
        return
    named = "; ".join(f"{vendor} gave them on the basis {basis!r} as of {day}" for vendor, basis, day in adjusted)
    raise RequestError(
        HTTPStatus.CONFLICT,
        "price-basis",
        f"{instrument.symbol}: prices as traded are not known for this range: {named};"
        " ask for adjust=split, or for a range that lies outside",
        {
            "symbol": instrument.symbol,
            "basis": adjusted[0][1],
            "basis_date": adjusted[0][2],
            "sources": [{"vendor": v, "basis": b, "basis_date": d} for v, b, d in adjusted],
        },
    )


def _with_sources(rows: pa.Table, sources: Sources) -> pa.Table:
    at = rows.column_names.index("source_id")
    named = {
        "vendor": (0, pa.string()),
        "basis": (1, pa.string()),
        "basis_date": (2, pa.date32()),
    }
    for name, (place, kind) in reversed(named.items()):
        values = {number: source[place] for number, source in sources.items()}
        rows = rows.add_column(at + 1, name, _by_source(rows, values, kind))
    return rows.drop_columns("source_id")


def _by_source(rows: pa.Table, values: Mapping[int, object], kind: pa.DataType) -> pa.ChunkedArray:
    """Return each row's value out of a table by source number."""
    numbers = pa.array(list(values), pa.int16())
    return pc.take(pa.array(list(values.values()), kind), pc.index_in(rows["source_id"], numbers))


def _repeated(text: str, rows: pa.Table) -> pa.Array:
    return pa.repeat(pa.scalar(text), rows.num_rows)


def _edge(rows: pa.Table, column: str, place: int) -> object:
    return rows[column][place].as_py() if rows.num_rows else None

"""Stored bars: `/historical/{symbol}`, `/market/prices`, `/market-data/db/history`."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Query, Request, Response

from quantmatrix_pipeline.api.models.bars import Historical, Prices, StoredBars
from quantmatrix_pipeline.api.parameters import (
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
from quantmatrix_pipeline.bars.adjustment import split_adjusted
from quantmatrix_pipeline.bars.batch import Basis, Dates, Floats
from quantmatrix_pipeline.bars.rules import USABLE_QUALITY, VALIDATED_QUALITY
from quantmatrix_pipeline.bars.stored import Sources, split_table, stored_units
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse import reads
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.instruments import Instrument

router = APIRouter(tags=["bars"])


Interval = Annotated[Literal["1d"], Query(description="length of a bar; daily bars are what is stored so far")]
Range = Annotated[
    str,
    Query(pattern=r"^([1-9]\d{0,4}d|max)$", description="the newest sessions, such as 200d, or max", examples=["200d"]),
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
    validated_only: Annotated[bool, Query(description="only bars of score 0.85 or more")] = False,
    min_quality: Annotated[float, Query(ge=0, le=1, description="only bars of this score or more")] = USABLE_QUALITY,
) -> Response:
    """Return stored daily bars with their quality, prices on the basis they are stored in."""
    ordered(start, end)
    instrument = reads.find_instrument(warehouse, symbol)
    rows = reads.daily_bars(
        warehouse,
        instrument.instrument_id,
        columns=reads.BAR_COLUMNS,
        start=start,
        end=end,
        min_quality=max(VALIDATED_QUALITY, min_quality) if validated_only else min_quality,
    )
    rows = rows.rename_columns({"session": "time"}).add_column(1, "symbol", _repeated(instrument.symbol, rows))
    return rows_response(
        request,
        rows,
        symbol=instrument.symbol,
        start_date=start or _edge(rows, "time", 0),
        end_date=end or _edge(rows, "time", -1),
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
) -> Response:
    """Return stored bars of any score, each with its source, basis, version and the moment it was learned."""
    ordered(start, end)
    instrument = reads.find_instrument(warehouse, symbol)
    rows = reads.daily_bars(
        warehouse,
        instrument.instrument_id,
        columns=(*reads.BAR_COLUMNS, "source_id", "version", "as_of"),
        start=start,
        end=end,
        newest=limit,
    )
    return rows_response(
        request, _with_sources(rows, tables.sources(warehouse)), symbol=instrument.symbol, interval=interval
    )


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
    adjust: Annotated[
        Literal["split", "raw"],
        Query(description="split: in shares of the newest session returned; raw: as traded, 409 where that is unknown"),
    ] = "split",
) -> Response:
    """Return the price series of usable bars, split-adjusted or as traded, the factor beside each price."""
    instrument = reads.find_instrument(warehouse, symbol)
    rows = reads.daily_bars(
        warehouse,
        instrument.instrument_id,
        columns=(*tables.PRICES, "source_id"),
        min_quality=USABLE_QUALITY,
        newest=None if range == "max" else int(range.removesuffix("d")),
    )
    sources = tables.sources(warehouse)
    if adjust == "raw":
        _refuse_adjusted(instrument, rows, sources)
        factor = np.ones(rows.num_rows)
    else:
        factor = _split_factor(warehouse, instrument, rows, sources)
    return rows_response(
        request,
        _priced(rows, factor, sources),
        symbol=instrument.symbol,
        range=range,
        interval=interval,
        adjust=adjust,
        adjusted_to=_edge(rows, "session", -1) if adjust == "split" else None,
    )


def _split_factor(warehouse: Warehouse, instrument: Instrument, rows: pa.Table, sources: Sources) -> Floats:
    """Return what each stored price is multiplied by to be quoted in shares of the newest session of `rows`."""
    if rows.num_rows == 0:
        return np.empty(0)
    splits = split_table(reads.splits(warehouse, instrument.instrument_id))
    session: Dates = rows["session"].to_numpy().astype("datetime64[D]")
    own = np.full(rows.num_rows, instrument.instrument_id, np.int32)
    quoted = stored_units(splits, own, session, rows["source_id"].to_numpy(), sources)
    return split_adjusted(np.ones(rows.num_rows), quoted, splits.unit(own, np.full_like(session, session[-1])))


def _priced(rows: pa.Table, factor: Floats, sources: Sources) -> pa.Table:
    columns = {"time": rows["session"]}
    columns |= {name: pa.array(rows[name].to_numpy() * factor) for name in ("open", "high", "low", "close")}
    columns |= {"volume": pa.array(rows["volume"].to_numpy() / factor), "factor": pa.array(factor)}
    columns["basis"] = _by_source(rows, {number: basis for number, (_, basis, _) in sources.items()}, pa.string())
    return pa.table(columns)


def _refuse_adjusted(instrument: Instrument, rows: pa.Table, sources: Sources) -> None:
    """Refuse to call prices raw that their vendor had adjusted.

    Raises
    ------
    RequestError
        409, naming each basis that stands in the way, its date and its vendor.
    """
    present = [sources[number] for number in sorted(pc.unique(rows["source_id"]).to_pylist())]
    adjusted = [(vendor, basis, day) for vendor, basis, day in present if Basis(basis) is not Basis.RAW]
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

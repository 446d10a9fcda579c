"""`qm chart`: one symbol as a picture, from stored bars alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.chart import render, spec
from quantmatrix_pipeline.chart.datasets import datasets
from quantmatrix_pipeline.errors import ConfigurationError, NoBars, UnknownSymbol
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline.providers.symbols import canonical
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.snapshots.method import Method
from quantmatrix_pipeline.snapshots.panel import read_panel
from quantmatrix_pipeline.warehouse import instruments, reads
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.instruments import Instrument
from quantmatrix_pipeline.warehouse.locate import open_reader

ENDINGS = (".png", ".html")
LEAST, MOST = 5, 2000  # bars


def chart(
    symbol: str,
    session: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="the last session shown; default: that of the newest bar"),
    ] = None,
    asof: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="look the symbol up among the names of this day; default: of now"),
    ] = None,
    bars: Annotated[int, typer.Option(min=LEAST, max=MOST, help="how many bars are shown")] = 250,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="a .png or .html; default: <symbol>_<session>.png in this folder"),
    ] = None,
) -> None:
    """Draw candles, averages, volume, RSI, MACD, TD counts, open gaps, trend lines and the weekly stage of a symbol."""
    if output is not None:
        _refuse_unwritable(output)
    settings = load()
    warehouse = open_reader(settings)
    instrument = _find(warehouse, symbol, None if asof is None else asof.date())
    last = None if session is None else trading_calendar(instrument.calendar).require_session(session.date())
    panel = replace(_read(warehouse, instrument, last), stage_rules=Method.of(settings).stage_rules)
    newest: date = panel.session[-1, 0].item()
    if last is not None and newest < last:
        typer.echo(f"{instrument.symbol} has no usable bar of {last}; its newest before is of {newest}", err=True)
    target = output or Path(f"{instrument.symbol}_{newest}.png")
    whole = panel.dividends_in is not None and bool(panel.dividends_in[0])
    subject = spec.Subject(instrument.symbol, instrument.name, instrument.currency, dividends_in=whole)
    data = datasets(panel, bars)
    if target.suffix.lower() == ".html":
        drawn = render.page(spec.page(data, subject)).encode()
    else:
        drawn = render.png(spec.picture(data, subject))
    partial = target.with_name(target.name + ".part")  # what is half written must not look whole
    partial.write_bytes(drawn)
    partial.replace(target)
    typer.echo(f"{min(bars, panel.bars)} bars of {instrument.symbol} up to {newest} to {target}")


def _refuse_unwritable(output: Path) -> None:
    if output.suffix.lower() not in ENDINGS:
        raise ConfigurationError(f"{output}: a chart is a picture or a page; name it *.png or *.html")
    if not output.parent.is_dir():
        raise ConfigurationError(f"{output.parent} is no folder; make it, or name another with --output")


def _find(warehouse: Warehouse, symbol: str, asof: date | None) -> Instrument:
    wanted = canonical(symbol) or symbol
    try:
        return reads.find_instrument(warehouse, wanted, asof)
    except UnknownSymbol as error:
        near = get_close_matches(wanted.upper(), sorted(instruments.ids(warehouse)), n=3)
        raise UnknownSymbol(f"{error}; did you mean {' or '.join(near)}?" if near else str(error)) from None


def _read(warehouse: Warehouse, instrument: Instrument, last: date | None) -> Panel:
    """Return all usable bars of an instrument up to a session, or up to its newest.

    Raises
    ------
    NoBars
        There is none; says what is stored instead.
    """
    panel = read_panel(warehouse, last or date.max, [instrument.instrument_id])
    if panel.bars:
        return panel
    stored = reads.symbol_coverage(warehouse, instrument.instrument_id)
    if not stored["bars"]:
        raise NoBars(f"{instrument.symbol} has no bars yet; `qm run` fetches those of tracked symbols")
    span = f"its {stored['bars']:,} bars are of {stored['first_session']}..{stored['last_session']}"
    raise NoBars(f"{instrument.symbol} has no usable bar{f' up to {last}' if last else ''}; {span}")

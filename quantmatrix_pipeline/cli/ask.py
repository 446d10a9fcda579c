"""`qm vendors`: how the vendors are, and one question to whoever serves it now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.errors import ConfigurationError, SymbolNotFound, UnknownSymbol
from quantmatrix_pipeline.providers.answers import Quote
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest, Vendor
from quantmatrix_pipeline.providers.routing.assemble import build_router
from quantmatrix_pipeline.providers.routing.overview import VendorView, overall, troubles
from quantmatrix_pipeline.providers.routing.router import Routed, Router
from quantmatrix_pipeline.providers.symbols import canonical, is_crypto
from quantmatrix_pipeline.settings import Settings, load, vendor_names
from quantmatrix_pipeline.warehouse.locate import open_writer, upgrade

app = typer.Typer(
    help="The vendors: their state, and a question to one of them.", no_args_is_help=True, add_completion=False
)

_WORDS = ("vendor", "key", "state", "symbol", "contract", "right", "name", "sector", "industry")  # columns of text
SHOWN = 10  # bars, contracts, members or observations that a terminal shows, the last ones; --json has all
WIDEST = 500  # characters of a table's line
_COLUMNS = ("opened_at", "open", "high", "low", "close", "volume", "day", "value")  # of answers that are columns


class What(StrEnum):
    """What may be asked."""

    DAILY = "daily"
    BARS_5M = "5m"
    BARS_1M = "1m"
    QUOTE = "quote"
    PROFILE = "profile"
    SPLITS = "splits"
    DIVIDENDS = "dividends"
    OPTIONS = "options"
    MEMBERS = "members"
    MACRO = "macro"


@dataclass(frozen=True, slots=True)
class _Question:
    capability: Capability
    ask: Callable[[Vendor], Awaitable[Any]]


@app.command("list")
def list_command(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Show each vendor's key, state, health and what is left of its budget; asks nobody."""
    views = asyncio.run(_router(load()).look())
    if as_json:
        typer.echo(json.dumps({"overall_health": overall(views), "vendors": [_row(v) for v in views]}, default=str))
        return
    rows = [_row(v) for v in views]
    console = Console(soft_wrap=True, highlight=False)
    _print_rows([_shown(row, can_be_asked=v.missing_key is None) for row, v in zip(rows, views, strict=True)])
    for row in rows:
        for trouble in row["circuits"]:
            console.print(f"{row['vendor']}: {trouble}", markup=False)


def _shown(row: dict[str, Any], *, can_be_asked: bool) -> dict[str, Any]:
    """Return a vendor's line of the table; of one that can't be asked there is nothing to tell but that."""
    line = {
        "vendor": row["vendor"],
        "key": row["key"],
        "state": row["state"],
        "health": f"{row['health_score']:.3f}",
        "p95 ms": None if row["p95_ms"] is None else round(row["p95_ms"]),
        "errors": f"{row['error_ewma']:.3f}",
        "left now": "any" if row["left_now"] is None else row["left_now"],
        "today": "any" if row["left_today"] is None else row["left_today"],
    }
    return line if can_be_asked else {name: line[name] if name in ("vendor", "key") else None for name in line}


@app.command()
def ask(
    what: Annotated[What, typer.Argument(help="What to ask for.")],
    name: Annotated[str, typer.Argument(help="A symbol (AAPL, BRK.B, BTC-USD), an index (SP500), a series (GDP).")],
    source: Annotated[str | None, typer.Option(help="The vendor to ask first (ALLOW_SOURCE_OVERRIDE).")] = None,
    days: Annotated[int, typer.Option(min=1, max=20_000, help="How many calendar days back.")] = 10,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Ask the vendors one question, within their budgets, and show the answer, who gave it, and why not the others.

    Nothing is stored.
    """
    settings = load()
    question = _question(what, name, days, settings)
    routed = asyncio.run(_ask(_router(settings), question, f"{what} {name}", _vendor(source)))
    if as_json:
        typer.echo(
            json.dumps({"vendor": routed.vendor, "passed_over": routed.passed_over, "answer": plain(routed.value)})
        )
        return
    console = Console(soft_wrap=True, highlight=False)
    for vendor, why in routed.passed_over.items():
        console.print(f"not {vendor}: {why}", style="dim", markup=False)
    console.print(f"{routed.vendor}:")
    _print(console, plain(routed.value))


def _router(settings: Settings) -> Router:
    upgrade(settings)
    return build_router(settings, open_writer(settings), run_id="qm vendors")


async def _ask(router: Router, question: _Question, what: str, source: str | None) -> Routed[Any]:
    async with router:
        return await router.first_answer(question.capability, question.ask, what, prefer=source)


def _vendor(name: str | None) -> str | None:
    """Return the vendor that people call by this name, as policies do."""
    if name is None:
        return None
    try:
        named = vendor_names(name)
    except ValueError as error:
        raise ConfigurationError(f"--source: {error}") from error
    if len(named) > 1:
        raise ConfigurationError(f"--source takes one vendor; {name!r} names {len(named)}")
    return named[0]


def _question(what: What, name: str, days: int, settings: Settings) -> _Question:
    today = clock.now().date()
    first = today - timedelta(days=days)
    if what is What.MEMBERS:
        return _Question(Capability.CONSTITUENTS, lambda v: v.constituents(name.upper(), today))
    if what is What.MACRO:
        return _Question(Capability.MACRO, lambda v: v.macro_series(name, first, today))
    symbol = canonical(name)
    if symbol is None:
        raise UnknownSymbol(f"{name!r} can't be a symbol; write AAPL, BRK.B, ^GSPC or BTC-USD")
    crypto = is_crypto(symbol)
    match what:
        case What.DAILY:
            sessions = (
                np.arange(np.datetime64(first, "D"), np.datetime64(today, "D"))
                if crypto
                else trading_calendar(settings.calendar).sessions_in(first, today)
            )
            capability = Capability.CRYPTO_DAILY if crypto else Capability.DAILY_BARS
            return _Question(capability, lambda v: v.daily_bars([BarRequest(symbol, sessions)]))
        case What.BARS_5M | What.BARS_1M:
            of_crypto = {"5m": Capability.CRYPTO_5M, "1m": Capability.CRYPTO_1M}
            of_equities = {"5m": Capability.BARS_5M, "1m": Capability.BARS_1M}
            start = datetime(first.year, first.month, first.day, tzinfo=UTC)
            request = IntradayRequest(symbol, what.value, start, clock.now())
            return _Question((of_crypto if crypto else of_equities)[what.value], lambda v: v.intraday_bars(request))
        case What.QUOTE:
            return _Question(Capability.CRYPTO_QUOTES if crypto else Capability.QUOTES, lambda v: _quote(v, symbol))
        case What.PROFILE:
            return _Question(Capability.PROFILE, lambda v: v.profile(symbol))
        case What.SPLITS:
            return _Question(Capability.SPLITS, lambda v: v.splits(symbol, first, today))
        case What.DIVIDENDS:
            return _Question(Capability.DIVIDENDS, lambda v: v.dividends(symbol, first, today))
        case What.OPTIONS:
            return _Question(Capability.OPTIONS_CHAIN, lambda v: v.options_chain(symbol))
    raise AssertionError(f"{what} is asked above")


async def _quote(vendor: Vendor, symbol: str) -> Quote:
    """Return the quote of one symbol; who was asked for several may leave out those that it does not know."""
    quotes = await vendor.quotes([symbol])
    if not quotes:
        raise SymbolNotFound(vendor.name, "no quote: not known there", symbol=symbol)
    return quotes[0]


def _row(v: VendorView) -> dict[str, Any]:
    return {
        "vendor": v.name,
        "key": "missing" if v.missing_key else "ok",
        "missing_key": v.missing_key,
        "state": v.state.value,
        "circuits": troubles(v),
        "health_score": v.score.total,
        "p95_ms": v.health.p95_ms,
        "error_ewma": v.health.error_ewma,
        "budget": str(v.limits),
        "left_now": v.room.now,
        "left_today": v.room.today,
    }


def plain(value: Any) -> Any:
    """Return an answer as JSON knows it; arrays become lists, NaN becomes null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(each) for name, each in asdict(value).items()}
    if isinstance(value, np.ndarray):
        return [None if np.isnat(x) else str(x) for x in value] if value.dtype.kind == "M" else plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, (date, datetime, Fraction, Exception)):
        return str(value)
    return value


def _print(console: Console, answer: Any) -> None:
    """Print what is single as a line each, and what there are many of as a table with the last of them."""
    if isinstance(answer, list):
        for each in answer:
            _print(console, each)
        return
    tables = {}
    columns = {}
    for name, value in answer.items():
        if isinstance(value, dict) and "session" in value:  # bars, by column
            names = value.pop("symbols")
            tables[name] = _records({"symbol": [names[i] for i in value.pop("symbol_index")], **value})
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            tables[name] = value
        elif isinstance(value, list) and name in _COLUMNS:
            columns[name] = value
        elif value not in (None, [], {}):
            console.print(f"  {name}: {value}", markup=False)
    if columns:
        tables["bars" if "opened_at" in columns else "observations"] = _records(columns)
    for name, records in tables.items():
        rest = f", the last {SHOWN}" if len(records) > SHOWN else ""
        console.print(f"  {name}: {len(records)}{rest}", markup=False)
        _print_rows(records[-SHOWN:])


def _records(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a table, without the columns in which there is nothing; nothing is cut to a terminal's width."""
    names = [name for name in (rows[0] if rows else ()) if any(row[name] is not None for row in rows)]
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=True, justify="left" if name in _WORDS else "right")
    for row in rows:
        table.add_row(*("-" if row[name] is None else escape(str(row[name])) for name in names))
    Console(width=WIDEST).print(table)

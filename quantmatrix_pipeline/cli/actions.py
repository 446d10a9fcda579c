"""`qm actions`: splits and dividends, which of them count and why; add one, withdraw one, take that back."""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.bars.thresholds import Thresholds
from quantmatrix_pipeline.errors import ConfigurationError, UnknownSymbol
from quantmatrix_pipeline.ingest.actions_by_hand import ByHand
from quantmatrix_pipeline.ingest.mend import OFF
from quantmatrix_pipeline.providers.symbols import canonical
from quantmatrix_pipeline.settings import Settings, load
from quantmatrix_pipeline.warehouse import action_list, instruments
from quantmatrix_pipeline.warehouse.action_list import Action
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import open_writer, upgrade

app = typer.Typer(
    help="Splits and dividends: which count and why, and what you know better.",
    no_args_is_help=True,
    add_completion=False,
)

KINDS = {"split": "split", "stock-dividend": "stock_dividend", "dividend": "cash_dividend"}
Numbers = Annotated[list[int], typer.Argument(help="the numbers that `qm actions list` shows")]
Note = Annotated[str, typer.Option(help="why, and where you have it from: what one would want to read in a year")]
By = Annotated[str | None, typer.Option(help="who says so; default: the account that runs this")]
NEXT = "the next run, or `qm restate`, records again what follows from it"


@app.command("list")
def list_command(
    symbol: Annotated[str | None, typer.Option(help="of this symbol only")] = None,
    kind: Annotated[str | None, typer.Option(help=f"one of {', '.join(KINDS)}")] = None,
    conflicts: Annotated[bool, typer.Option("--conflicts", help="only what somebody disputes")] = False,
    limit: Annotated[int, typer.Option(min=1, help="so many, the newest ex-dates first")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="with the evidence")] = False,
) -> None:
    """List splits and dividends as vendors name them, with what counts and why."""
    _, warehouse = _open()
    name = _canonical(symbol) if symbol else None
    wanted = _kind(kind) if kind else None
    found = action_list.find(warehouse, symbol=name, kind=wanted, contested=conflicts, limit=limit)
    if as_json:
        typer.echo(json.dumps([asdict(action) for action in found], default=str))
        return
    _show(found)


@app.command()
def add(
    symbol: str,
    kind: Annotated[str, typer.Argument(help=f"one of {', '.join(KINDS)}")],
    ex_date: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="the first day without it")],
    value: Annotated[str, typer.Argument(help="new:old shares, such as 4:1; of a dividend the cash per share")],
    note: Note,
    by: By = None,
    currency: Annotated[str | None, typer.Option(help="of the cash; default: that of the prices")] = None,
) -> None:
    """Add a split or a dividend that no vendor names, or names wrongly: it goes before theirs."""
    settings, warehouse = _open()
    name = _canonical(symbol)
    instrument_id = instruments.ids(warehouse, [name]).get(name)
    if instrument_id is None:
        raise UnknownSymbol(f"no instrument bears {name}; `qm symbols list` shows those that are known")
    action: dict[str, object] = {"kind": _kind(kind), "ex_date": ex_date.date()}
    if action["kind"] == "cash_dividend":
        action["amount"] = str(_amount(value))
        action["currency"] = (currency or action_list.currency_of(warehouse, instrument_id)).upper()
    else:
        ratio = _ratio(value)
        action |= {"numerator": ratio.numerator, "denominator": ratio.denominator}
    _show([_by_hand(settings, warehouse, note, by).add(instrument_id, action)])
    typer.echo(NEXT)


@app.command()
def withdraw(numbers: Numbers, note: Note, by: By = None) -> None:
    """Let actions count no more, however often a vendor names them."""
    settings, warehouse = _open()
    _show(_by_hand(settings, warehouse, note, by).withdraw(numbers))
    typer.echo(NEXT)


@app.command()
def restore(numbers: Numbers, note: Note, by: By = None) -> None:
    """Take a withdrawing back: vendors and prices decide again."""
    settings, warehouse = _open()
    _show(_by_hand(settings, warehouse, note, by).restore(numbers))
    typer.echo(NEXT)


def _open() -> tuple[Settings, Warehouse]:
    settings = load()
    upgrade(settings)
    return settings, open_writer(settings)


def _by_hand(settings: Settings, warehouse: Warehouse, note: str, by: str | None) -> ByHand:
    if not note.strip():
        raise ConfigurationError("--note is empty; say why, for whoever reads it in a year")
    return ByHand(
        warehouse,
        trading_calendar(settings.calendar),
        by=by or getpass.getuser(),
        note=note.strip(),
        now=clock.now(),
        lock_wait_seconds=settings.lock_wait_seconds,
        repair_at=settings.repair_confidence if settings.repair else OFF,
        thresholds=Thresholds.of(settings),
    )


def _kind(text: str) -> str:
    if text not in KINDS:
        raise ConfigurationError(f"{text!r} is no kind of action: one of {', '.join(KINDS)}")
    return KINDS[text]


def _ratio(text: str) -> Fraction:
    try:
        new, old = (Fraction(part) for part in text.split(":"))
        ratio = new / old
    except (ValueError, ZeroDivisionError):
        ratio = Fraction(0)
    if ratio <= 0 or ratio == 1:
        raise ConfigurationError(
            f"{text!r} is no ratio: write new:old shares, such as 4:1, or 1:10 for a reverse split"
        )
    return ratio


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(0)
    if not (amount.is_finite() and amount > 0):
        raise ConfigurationError(f"{text!r} is no cash per share: write a number above zero, such as 0.25")
    return amount


def _canonical(symbol: str) -> str:
    name = canonical(symbol)
    if name is None:
        raise UnknownSymbol(f"{symbol!r} can't be a symbol; write AAPL, BRK.B, ^GSPC or BTC-USD")
    return name


def _show(found: Sequence[Action]) -> None:
    table = Table("number", "symbol", "ex-date", "kind", "value", "vendor", "counts", "why", "note", box=None)
    for a in found:
        value = a.ratio or f"{a.amount:f} {a.currency}"
        note = f"{a.note} ({a.by})" if a.note else ""
        table.add_row(
            str(a.action_id), a.symbol or "-", str(a.ex_date), a.kind, value, a.vendor, "yes" if a.in_force else "no",
            a.reason or "", note,
        )  # fmt: skip
    Console().print(table)

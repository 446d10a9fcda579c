"""The small tables beside the bars: index members, splits, dividends, instruments."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path

from quantmatrix_pipeline.errors import ConfigurationError, MalformedResponse
from quantmatrix_pipeline.providers.answers import Dividend, Kind, Listing, Member, Split, SymbolChange
from quantmatrix_pipeline.providers.symbols import canonical

VENDOR = "files"
_ALIASES = {
    "ticker": "symbol",
    "security": "name",
    "company": "name",
    "gics sector": "sector",
    "gics sub-industry": "sub_industry",
    "start_date": "start",
    "end_date": "end",
}
_HOLDINGS_AS_OF = re.compile(r'^Fund Holdings as of,"?([A-Z][a-z]{2} \d{1,2}, \d{4})"?', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Spell:
    """A member from `start` (inclusive) to `end` (exclusive); None is unbounded."""

    member: Member
    start: date | None
    end: date | None

    def holds_on(self, day: date) -> bool:
        return (self.start is None or self.start <= day) and (self.end is None or day < self.end)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a small table, which knows where it stands so that every error can say so."""

    file: str
    number: int
    cells: Mapping[str, str]

    def error(self, column: str, what: str) -> ConfigurationError:
        return ConfigurationError(f"files: {self.file}: row {self.number}, column {column!r}: {what}")

    def text(self, column: str) -> str | None:
        return self.cells.get(column) or None

    def required(self, column: str) -> str:
        value = self.text(column)
        if value is None:
            raise self.error(column, "is empty")
        return value

    def symbol(self, column: str = "symbol") -> str:
        text = self.required(column)
        symbol = canonical(text)
        if symbol is None:
            raise self.error(column, f"{text!r} is no symbol")
        return symbol

    def day(self, column: str) -> date | None:
        text = self.text(column)
        try:
            return date.fromisoformat(text) if text else None
        except ValueError:
            raise self.error(column, f"{text!r} is no ISO date such as 2021-12-31") from None

    def required_day(self, column: str) -> date:
        self.required(column)
        return self.day(column) or date.min

    def positive(self, column: str) -> Fraction:
        text = self.required(column)
        try:
            value = Fraction(text)
        except (ValueError, ZeroDivisionError):
            raise self.error(column, f"{text!r} is no number") from None
        if value <= 0:
            raise self.error(column, f"{text!r} is not positive")
        return value


def read_rows(path: Path, text: str, *required: str, skip: int = 0) -> Iterator[Row]:
    """Yield the rows of a CSV by lower-case column names; blank lines are passed over, the first `skip` lines cut off.

    Raises
    ------
    ConfigurationError
        If a required column is missing from the header.
    """
    reader = csv.reader(io.StringIO(text))
    names: list[str] | None = None
    for cells in reader:
        if reader.line_num <= skip or not any(cell.strip() for cell in cells):
            continue
        if names is None:
            names = [_ALIASES.get(c.strip().lower(), c.strip().lower()) for c in cells]
            for column in required:
                if column not in names:
                    raise ConfigurationError(
                        f"files: {path.name}: row {reader.line_num}, column {column!r}: missing; "
                        f"the header has {', '.join(names)}"
                    )
            continue
        yield Row(path.name, reader.line_num, dict(zip(names, (c.strip() for c in cells), strict=False)))
    if names is None:
        raise ConfigurationError(f"files: {path.name}: is empty; expected columns: {','.join(required)}")


def read_text(path: Path) -> str:
    """Return a text file's content, unpacked where it is gzipped."""
    raw = path.read_bytes()
    try:
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise MalformedResponse(VENDOR, f"{path.name} can't be read as text: {error}") from error


def read_splits(path: Path) -> tuple[Split, ...]:
    """Read `symbol,ex_date,numerator,denominator` or `symbol,ex_date,ratio` (4 or 1/10: new shares for one old).

    A column `kind` may tell a `stock_dividend` from a `split`.
    """
    found = []
    for row in read_rows(path, read_text(path), "symbol", "ex_date"):
        parts = ("ratio",) if row.text("ratio") else ("numerator", "denominator")
        values = [row.positive(p) for p in parts]
        ratio = values[0] if len(values) == 1 else values[0] / values[1]
        kind = row.text("kind") or "split"
        if kind not in ("split", "stock_dividend"):
            raise row.error("kind", f"{kind!r} is none of split | stock_dividend")
        found.append(Split(row.symbol(), row.required_day("ex_date"), ratio, kind == "stock_dividend"))
    return tuple(found)


def read_dividends(path: Path, currencies: Mapping[str, str]) -> tuple[Dividend, ...]:
    """Read `symbol,ex_date,amount[,currency]`; without a currency it is the instrument's."""
    return tuple(
        Dividend(
            symbol := row.symbol(),
            row.required_day("ex_date"),
            float(row.positive("amount")),
            (row.text("currency") or currencies.get(symbol, "USD")).upper(),
        )
        for row in read_rows(path, read_text(path), "symbol", "ex_date", "amount")
    )


def read_instruments(path: Path, known: Mapping[str, Listing]) -> dict[str, Listing]:
    """Read `symbol,name,kind,currency,listed_on,delisted_on`; what a row leaves out stays as in `known`."""
    found = {}
    for row in read_rows(path, read_text(path), "symbol"):
        symbol = row.symbol()
        base = known.get(symbol, Listing(symbol))
        kind = row.text("kind")
        if kind and kind.lower() not in {k.value for k in Kind}:
            raise row.error("kind", f"{kind!r} is none of {' | '.join(Kind)}")
        found[symbol] = Listing(
            symbol=symbol,
            kind=Kind(kind.lower()) if kind else base.kind,
            name=row.text("name") or base.name,
            currency=(row.text("currency") or base.currency).upper(),
            listed_on=row.day("listed_on"),
            delisted_on=row.day("delisted_on"),
            first_bar=base.first_bar,
            last_bar=base.last_bar,
        )
    return found


def read_spells(path: Path, text: str) -> tuple[Spell, ...]:
    """Read `symbol[,name,sector,industry,sub_industry,start,end]`: members, or all their spells over time.

    A row without a symbol names nobody (delisted members often have none) and is passed over.
    """
    rows = read_rows(path, text, "symbol")
    return tuple(
        Spell(
            Member(row.symbol(), *(row.text(c) for c in ("name", "sector", "industry", "sub_industry"))),
            row.day("start"),
            row.day("end"),
        )
        for row in rows
        if row.text("symbol")
    )


def read_symbol_changes(renames: Path | None, reuses: Path | None) -> tuple[SymbolChange, ...]:
    """Read `old,new,date` and `symbol,date[,name]`: who is called otherwise from a day on, and whose name went over.

    Raises
    ------
    ConfigurationError
        If a symbol is renamed to itself, or two rows say different things of a symbol and a day.
    """
    found: dict[tuple[str, date], SymbolChange] = {}
    for row in read_rows(renames, read_text(renames), "old", "new", "date") if renames else ():
        change = SymbolChange(row.symbol("old"), row.required_day("date"), row.symbol("new"))
        if change.symbol == change.new_symbol:
            raise row.error("new", f"{change.symbol} is what it was called before")
        if found.setdefault((change.symbol, change.on), change) != change:
            raise row.error(
                "new", f"another row has {change.symbol} become {found[change.symbol, change.on].new_symbol}"
            )
    taken = [
        SymbolChange(row.symbol(), row.required_day("date"), None, row.text("name"))
        for row in (read_rows(reuses, read_text(reuses), "symbol", "date") if reuses else ())
    ]
    # On one day a name is given up before another takes it.
    return tuple(sorted([*found.values(), *taken], key=lambda c: (c.on, c.new_symbol is None, c.symbol)))


def is_holdings(text: str) -> bool:
    """Say whether a text is an iShares holdings file (a preamble with the date, then the table, then legal text)."""
    return _HOLDINGS_AS_OF.search(text[:2_000]) is not None


def read_holdings(path: Path, text: str) -> tuple[date, tuple[Member, ...]]:
    """Read the equities of an iShares holdings file, and its date.

    Cash, futures and the legal text under the table are no members. A holding without a real ticker (`-`: rights,
    escrow shares) can't be followed and is passed over.
    """
    as_of = _HOLDINGS_AS_OF.search(text)
    head = re.search(r"^Ticker,", text, re.MULTILINE)
    if as_of is None or head is None:
        raise MalformedResponse(VENDOR, f"{path.name} has no holdings date or no line that begins with Ticker")
    day = datetime.strptime(as_of[1], "%b %d, %Y").date()  # noqa: DTZ007 - a date, no instant
    members: dict[str, Member] = {}
    for row in read_rows(path, text, "symbol", "asset class", skip=text.count("\n", 0, head.start())):
        symbol = canonical(row.cells.get("symbol", ""))
        if symbol and row.text("asset class") == "Equity":
            members[symbol] = Member(symbol, row.text("name"), row.text("sector"))
    return day, tuple(members.values())

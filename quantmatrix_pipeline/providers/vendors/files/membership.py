"""Index members over time, out of whatever a publisher offers: stays, changes to a list, or a list per month."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.providers.answers import IndexSpells, Spell
from quantmatrix_pipeline.providers.symbols import canonical
from quantmatrix_pipeline.providers.vendors.files.records import VENDOR, read_rows, read_spells, read_text

_MONTH = re.compile(r"(\d{4})-(\d{2})")


@dataclass(frozen=True, slots=True)
class MembershipEntry:
    """One `[membership.INDEX]` table of a declaration, with every path made absolute.

    Exactly one of `spells`, `members` (with `on`), `years` and `lists` is set; `changes` goes with the first two.
    """

    index: str
    spells: Path | None = None
    members: Path | None = None
    on: date | None = None
    years: tuple[Path, ...] = ()
    lists: Path | None = None
    name: str | None = None
    changes: Path | None = None
    covered_from: date | None = None
    covered_to: date | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it reads."""
        return (*(p for p in (self.spells, self.members, self.lists, self.changes) if p), *self.years)


@dataclass(frozen=True, slots=True)
class Change:
    """Who comes into an index and who leaves it on a day, and where that is said."""

    on: date
    add: frozenset[str]
    remove: frozenset[str]
    where: str


def read_membership(entry: MembershipEntry) -> IndexSpells:
    """Read all stays in one index, and the days on which they are all.

    Raises
    ------
    ConfigurationError
        If a file is not laid out as declared, or contradicts itself: a stay that overlaps another of its symbol, a
        change that takes out who is not in or brings in who is, a year that does not begin as the one before it ended.
    """
    if entry.lists is not None:
        return _of_lists(entry, entry.lists)
    if entry.years:
        spells, first, last = _of_years(entry.years)
    elif entry.members is not None and entry.on is not None:
        members = frozenset(s.symbol for s in _stays(entry.members))
        changes = [] if entry.changes is None else read_changes(entry.changes)
        spells = from_changes(members, entry.on, changes)
        days = [entry.on, *(c.on for c in changes)]
        first, last = min(days), max(days)
    else:
        assert entry.spells is not None
        spells, first, last = _of_stays(entry.spells, entry.changes)
    first, last = entry.covered_from or first, entry.covered_to or last
    if first > last:
        raise ConfigurationError(
            f"files: membership.{entry.index}: reaches from {first} to {last}, which is no stretch"
        )
    return IndexSpells(VENDOR, entry.index, _sorted(spells), ((first, last),))


def from_changes(members: frozenset[str], on: date, changes: Sequence[Change]) -> tuple[Spell, ...]:
    """Walk from the members of a day through changes before and after it; a change holds from its own day on.

    Raises
    ------
    ConfigurationError
        If a change takes out who is not in, or brings in who is.
    """
    ordered = sorted(changes, key=lambda c: c.on)
    state = set(members)
    for change in reversed([c for c in ordered if c.on <= on]):
        _apply(state, change, add=change.remove, remove=change.add)
    open_since: dict[str, date | None] = dict.fromkeys(state)
    spells: list[Spell] = []
    for change in ordered:
        _apply(state, change, add=change.add, remove=change.remove)
        spells += [Spell(symbol, open_since.pop(symbol), change.on) for symbol in sorted(change.remove)]
        open_since |= dict.fromkeys(change.add, change.on)
    spells = [s for s in spells if s.start != s.end]  # in and out on one day
    return _sorted([*spells, *(Spell(symbol, since, None) for symbol, since in open_since.items())])


def _apply(state: set[str], change: Change, *, add: frozenset[str], remove: frozenset[str]) -> None:
    if absent := sorted(remove - state):
        raise ConfigurationError(f"files: {change.where}: {', '.join(absent)} can't be a member and not be one")
    if present := sorted(add & (state - remove)):
        raise ConfigurationError(f"files: {change.where}: {', '.join(present)} is a member already")
    state -= remove
    state |= add


def read_changes(path: Path) -> list[Change]:
    """Read `date,add,remove`; a cell may hold several symbols, separated by commas."""
    found = []
    for row in read_rows(path, read_text(path), "date", "add", "remove"):
        sides = []
        for column in ("add", "remove"):
            written = [text for text in (row.text(column) or "").replace(";", ",").split(",") if text.strip()]
            symbols = [canonical(text) for text in written]
            if None in symbols:
                raise row.error(column, f"{written[symbols.index(None)]!r} is no symbol")
            sides.append(frozenset(s for s in symbols if s))
        where = f"{path.name}: row {row.number}"
        found.append(Change(row.required_day("date"), sides[0], sides[1], where))
    if not found:
        raise ConfigurationError(f"files: {path.name}: names no change")
    return found


# --- stays ------------------------------------------------------------------------------------------------------------


def _stays(path: Path) -> tuple[Spell, ...]:
    return tuple(Spell(s.member.symbol, s.start, s.end) for s in read_spells(path, read_text(path)))


def _of_stays(path: Path, changes: Path | None) -> tuple[tuple[Spell, ...], date, date]:
    """Return a file's stays and the days from its first start to its last start or end, later changes included."""
    spells = _sorted(_stays(path))
    for one, following in pairwise(spells):
        if one.symbol == following.symbol and (one.end is None or (following.start or date.min) < one.end):
            raise ConfigurationError(
                f"files: {path.name}: {one.symbol} is in from {one.start} to {one.end or 'now'} and again from"
                f" {following.start}; stays of a symbol must not overlap"
            )
    days = [day for s in spells for day in (s.start, s.end) if day is not None]
    if not days:
        raise ConfigurationError(f"files: {path.name}: has no start and no end; [membership] needs stays over time")
    last = max(days)
    later = [] if changes is None else [c for c in read_changes(changes) if c.on > last]
    if later:
        open_since = {s.symbol: s.start for s in spells if s.end is None}
        moved = from_changes(frozenset(open_since), last, later)
        ended = [s for s in spells if s.end is not None]
        spells = _sorted([*ended, *(Spell(s.symbol, s.start or open_since[s.symbol], s.end) for s in moved)])
        last = max(c.on for c in later)
    return spells, min(days), last


# --- years ------------------------------------------------------------------------------------------------------------


def _of_years(paths: Sequence[Path]) -> tuple[tuple[Spell, ...], date, date]:
    """Read a YAML file per year: `year`, `tickers_on_Jan_1`, and `changes` by day as `difference` and `union`."""
    years = {year: (path, members, changes) for path in paths for year, members, changes in [_year(path)]}
    first_year = min(years)
    if missing := sorted(set(range(first_year, max(years))) - years.keys()):
        raise ConfigurationError(f"files: {paths[0].parent.name}: there is no file of {missing[0]}")
    for year, (_, members, changes) in years.items():
        path, following, _ = years.get(year + 1, (None, frozenset(), []))
        ended = {s.symbol for s in from_changes(members, date(year, 1, 1), changes) if s.end is None}
        if path is not None and (odd := sorted(ended ^ following)):
            raise ConfigurationError(
                f"files: {path.name}: begins with other members than the year before it ended with: {', '.join(odd)}"
            )
    first = date(first_year, 1, 1)
    changes = [change for year in sorted(years) for change in years[year][2]]
    spells = from_changes(years[first_year][1], first, changes)
    # A year's file says of every day until its last change, not of those to come.
    return spells, first, max([first, *(c.on for c in changes)])


def _year(path: Path) -> tuple[int, frozenset[str], list[Change]]:
    try:
        # BaseLoader makes nothing but texts, lists and mappings: YAML 1.1 would read the ticker ON as true.
        content = yaml.load(read_text(path), yaml.BaseLoader)  # noqa: S506
    except yaml.YAMLError as error:
        raise ConfigurationError(f"files: {path.name}: no valid YAML: {' '.join(str(error).split())}") from error
    try:
        year = int(content["year"])
        members = _symbols(path, "tickers_on_Jan_1", content["tickers_on_Jan_1"])
        changes = [
            Change(
                date.fromisoformat(day),
                _symbols(path, f"{day} union", sides.get("union")),
                _symbols(path, f"{day} difference", sides.get("difference")),
                f"{path.name}: {day}",
            )
            for day, sides in (content.get("changes") or {}).items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"files: {path.name}: is no year of an index ({error!r}); expected are year, tickers_on_Jan_1 and"
            " changes: {'2020-04-20': {difference: [...], union: [...]}}"
        ) from error
    if odd := [c.where for c in changes if c.on.year != year]:
        raise ConfigurationError(f"files: {odd[0]} is no day of {year}")
    return year, members, changes


def _symbols(path: Path, where: str, texts: Iterable[str] | None) -> frozenset[str]:
    named = {text: canonical(text) for text in texts or ()}
    if wrong := [text for text, symbol in named.items() if symbol is None]:
        raise ConfigurationError(f"files: {path.name}: {where}: {wrong[0]!r} is no symbol")
    return frozenset(s for s in named.values() if s)


# --- lists per month --------------------------------------------------------------------------------------------------


def monthly_lists(path: Path, name: str) -> dict[date, frozenset[str]]:
    """Read `month,index,symbol` (CSV or Parquet): first day of a month -> who stood in the list of `name` in it.

    A month with a row without a symbol is left out: its list is not complete.
    """
    lists: dict[date, set[str]] = {}
    broken: set[date] = set()
    for number, month, index, text in _list_rows(path):
        if index != name:
            continue
        match = _MONTH.fullmatch(month)
        if match is None or not 1 <= int(match[2]) <= 12:
            raise ConfigurationError(
                f"files: {path.name}: row {number}, column 'month': {month!r} is no month: 2023-07"
            )
        first = date(int(match[1]), int(match[2]), 1)
        symbol = canonical(text)
        if symbol is None:
            broken.add(first)
        else:
            lists.setdefault(first, set()).add(symbol)
    if not lists:
        raise ConfigurationError(f"files: {path.name}: has no list of {name!r}")
    return {month: frozenset(lists[month]) for month in sorted(lists.keys() - broken)}


def _list_rows(path: Path) -> Iterable[tuple[int, str, str, str]]:
    columns = ("month", "index", "symbol")
    if path.name.lower().endswith((".parquet", ".pq")):
        present = pq.read_schema(path).names
        if missing := [c for c in columns if c not in present]:
            raise ConfigurationError(f"files: {path.name}: column {missing[0]!r} is missing; there are {present}")
        table: Mapping[str, list[str | None]] = pq.read_table(path, columns=list(columns)).to_pydict()
        for number, (month, index, symbol) in enumerate(zip(*(table[c] for c in columns), strict=True), start=1):
            yield number, month or "", index or "", symbol or ""
    else:
        for row in read_rows(path, read_text(path), *columns):
            yield row.number, *(row.text(c) or "" for c in columns)  # type: ignore[misc]


def _of_lists(entry: MembershipEntry, path: Path) -> IndexSpells:
    """Return what lists of some day of their month surely say.

    A list holds on a day of its month that nobody names. Where lists of neighbouring months are equal nothing changed
    between those two days, so the members are known from the last day of the first such month to the first day of the
    last one; the days around a change, and a month alone, are not known.
    """
    lists = monthly_lists(path, entry.name or entry.index)
    runs: list[tuple[date, date, frozenset[str]]] = []
    for month, members in lists.items():
        if runs and runs[-1][2] == members and _next_month(runs[-1][1]) == month:
            runs[-1] = (runs[-1][0], month, members)
        else:
            runs.append((month, month, members))
    known = [(_last_day(first), last, members) for first, last, members in runs if first < last]
    first, last = entry.covered_from or date.min, entry.covered_to or date.max
    known = [(max(a, first), min(b, last), members) for a, b, members in known if a <= last and b >= first]
    if not known:
        raise ConfigurationError(f"files: {path.name}: no two lists of {entry.index} in a row are equal")
    spells = [Spell(s, a, b + timedelta(days=1)) for a, b, members in known for s in members]
    return IndexSpells(VENDOR, entry.index, _sorted(spells), tuple((a, b) for a, b, _ in known))


def _next_month(first: date) -> date:
    return (first + timedelta(days=32)).replace(day=1)


def _last_day(first: date) -> date:
    return first.replace(day=calendar.monthrange(first.year, first.month)[1])


def _sorted(spells: Iterable[Spell]) -> tuple[Spell, ...]:
    return tuple(sorted(spells, key=lambda s: (s.symbol, s.start or date.min)))

"""The files source: a folder of bars that somebody else keeps up to date."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from threading import Lock

import numpy as np

from quantmatrix_pipeline.bars.batch import BarBatch, Basis
from quantmatrix_pipeline.errors import (
    ConfigurationError,
    MalformedResponse,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
)
from quantmatrix_pipeline.providers.answers import (
    ConstituentsAnswer,
    DailyAnswer,
    IndexSpells,
    Kind,
    Listing,
    SymbolChange,
    UnreadableRow,
)
from quantmatrix_pipeline.providers.contract import BarRequest, Capability
from quantmatrix_pipeline.providers.vendors import wikipedia
from quantmatrix_pipeline.providers.vendors.files.content import Content, gather
from quantmatrix_pipeline.providers.vendors.files.declaration import read_declaration
from quantmatrix_pipeline.providers.vendors.files.membership import MembershipEntry, read_membership
from quantmatrix_pipeline.providers.vendors.files.records import is_holdings, read_holdings, read_spells, read_text
from quantmatrix_pipeline.providers.vendors.files.tables import VENDOR, Table, read_table
from quantmatrix_pipeline.providers.vendors.shared.held_bars import weekday

PART = 512  # symbols per part of an answer: bounds what is validated and written at once
_SATURDAY = 5

_Stamp = tuple[tuple[Path, int, int], ...]  # path, modification time in ns, bytes: of each file that is read

# folder -> what was last answered, and of which files. Schedules and sensors build a source for each tick and ask it
# nothing else; without this, each tick would read every bar.
_NEWEST: dict[Path, tuple[_Stamp, date, date]] = {}
_FINDING = Lock()  # ticks come several at a time, and one reading of the bars at once is memory enough


class FilesProvider:
    """Serves what `source.toml` in a folder declares; see docs/files-source.md for the layout.

    Each file is read once and again only when its size or modification time changes.

    Parameters
    ----------
    folder
        The folder that holds `source.toml`.

    Raises
    ------
    ConfigurationError
        If the declaration is missing or wrong. Files that are not laid out as declared, and a folder without one
        readable bar, raise it at the first use, before anything is handed out.
    """

    name = VENDOR
    vendors = (VENDOR,)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._declaration = read_declaration(folder)
        self._tables: dict[Path, tuple[tuple[int, int], Table]] = {}
        self._spells: dict[str, tuple[tuple[tuple[int, int], ...], IndexSpells]] = {}
        self._seen: _Stamp = ()
        self._content: Content | None = None

    @property
    def capabilities(self) -> frozenset[Capability]:
        offered = {Capability.DAILY_BARS, Capability.LISTINGS}
        return frozenset(offered | ({Capability.CONSTITUENTS} if self._declaration.constituents else set()))

    @property
    def indices(self) -> tuple[str, ...]:
        """The indices whose members the folder names."""
        return tuple(self._declaration.constituents)

    def newest_session(self, closed: date) -> date:
        """Return the newest date up to `closed` on which the folder has a bar; a weekend counts for crypto only.

        Raises
        ------
        ConfigurationError
            If all bars are later than `closed`.
        """
        with _FINDING:
            stamp, known = self._stamp(), _NEWEST.get(self._folder)
            if known is None or known[:2] != (stamp, closed):
                known = _NEWEST[self._folder] = (stamp, closed, self._newest(closed))
            return known[2]

    def _newest(self, closed: date) -> date:
        content = self._read()
        newest = []
        for group in content.groups:
            batch = group.held.batch
            crypto = np.array([content.listings[s].kind is Kind.CRYPTO for s in batch.symbols] or [False])
            rows = batch.session <= np.datetime64(closed, "D")
            rows &= crypto[batch.symbol_index] | (weekday(batch.session) < _SATURDAY)
            if rows.any():
                newest.append(batch.session[rows].max())
        if not newest:
            raise ConfigurationError(
                f"files: {self._folder} has no bar up to {closed}, the last closed session; set QM_NOW later, "
                "or put older bars there"
            )
        return max(newest).item()  # type: ignore[no-any-return]

    def listings(self) -> Sequence[Listing]:
        """Return every symbol that has a bar, with the dates of its first and last one."""
        return tuple(self._read().listings.values())

    async def daily_bars(self, requests: Sequence[BarRequest], *, concurrency: int) -> AsyncIterator[DailyAnswer]:
        """Yield parts of at most 512 symbols; files that can't be read are reported in the first one."""
        content = self._read()
        report = _unread_files(content)
        for start in range(0, len(requests), PART):
            for answer in _part(content, requests[start : start + PART]):
                yield replace(answer, unreadable=(*report, *answer.unreadable))
                report = ()

    async def splits_of(self, stretches: Mapping[str, tuple[date, date]]) -> Sequence[DailyAnswer]:
        """Return nothing: all that is known came with the bars."""
        return ()

    async def constituents(self, index: str, session: date) -> ConstituentsAnswer:
        """Return the members of `index` on `session`.

        A list with spells answers for any day. A holdings file answers with its own date. A list without dates is
        taken to hold on the session that was asked for.
        """
        path = self._declaration.constituents.get(index)
        if path is None:
            raise UnsupportedRequest(VENDOR, f"{self._declaration.file} names no members of it", symbol=index)
        text = read_text(path)
        as_of, dated = session, True
        if path.name.lower().endswith((".html", ".html.gz", ".htm")):
            members, dated = wikipedia.parse_members(index, text), False
        elif is_holdings(text):
            as_of, members = read_holdings(path, text)
        else:
            spells = read_spells(path, text)
            members = tuple({s.member.symbol: s.member for s in spells if s.holds_on(session)}.values())
            dated = any(s.start or s.end for s in spells)
        if not members:
            raise MalformedResponse(VENDOR, f"{path.name} names no member of {index} on {as_of}")
        return ConstituentsAnswer(VENDOR, index, as_of, members, dated)

    def symbol_changes(self) -> Sequence[SymbolChange]:
        """Return the renames and reuses that the folder names, by day."""
        return self._read().changes

    def index_spells(self) -> Sequence[IndexSpells]:
        """Return the stays in each index with a [membership] table."""
        return tuple(self._membership(entry) for entry in self._declaration.membership)

    def _membership(self, entry: MembershipEntry) -> IndexSpells:
        stamp = tuple((s.st_mtime_ns, s.st_size) for s in (p.stat() for p in entry.files))
        if entry.index not in self._spells or self._spells[entry.index][0] != stamp:
            self._spells[entry.index] = (stamp, read_membership(entry))
        return self._spells[entry.index][1]

    def _stamp(self) -> _Stamp:
        said = self._declaration
        bars = [path for entry in said.bars for path in entry.paths()]
        beside = (said.splits, said.dividends, said.instruments, said.renames, said.reuses)
        files = (said.file, *bars, *(path for path in beside if path))
        return tuple((path, (stat := path.stat()).st_mtime_ns, stat.st_size) for path in files)

    def _read(self) -> Content:
        stamp = self._stamp()
        if self._content is None or stamp != self._seen:
            files = [(entry, path) for entry in self._declaration.bars for path in entry.paths()]
            self._content = gather(self._declaration, [(e, self._table(path, e.columns)) for e, path in files])
            self._seen = stamp
        return self._content

    def _table(self, path: Path, columns: tuple[str, ...] | None) -> Table:
        stat = path.stat()
        stamp = (stat.st_mtime_ns, stat.st_size)
        if path not in self._tables or self._tables[path][0] != stamp:
            self._tables[path] = (stamp, read_table(path, columns))
        return self._tables[path][1]


def _unread_files(content: Content) -> tuple[UnreadableRow, ...]:
    """Return one row per file that can't be read, and the odd rows of files of many symbols, which name nobody."""
    files = tuple(
        UnreadableRow(t.file_symbol, None, "unreadable_file", str(t.failure), {"file": t.path.name})
        for t in content.broken
    )
    return files + content.unreadable.get(None, ())


def _part(content: Content, requests: Sequence[BarRequest]) -> list[DailyAnswer]:
    """Answer some requests: one answer per basis, the first with everything that failed."""
    by_group: dict[tuple[int, bool], list[BarRequest]] = defaultdict(list)
    failures: dict[str, VendorError] = {}
    for request in requests:
        at = content.group_of.get(request.symbol)
        if at is None:
            failures[request.symbol] = _missing(content, request.symbol)
        else:
            by_group[at, content.listings[request.symbol].kind is Kind.CRYPTO].append(request)
    answers = []
    for (at, crypto), wanted in by_group.items():
        group = content.groups[at]
        answers.append(
            DailyAnswer(
                vendor=VENDOR,
                basis=group.basis,
                basis_date=group.basis_date,
                bars=group.held.serve(wanted, weekends=not crypto),
                splits=tuple(s for r in wanted for s in content.splits.get(r.symbol, ())),
                dividends=tuple(d for r in wanted for d in content.dividends.get(r.symbol, ())),
                unreadable=tuple(_unreadable(content, wanted)),
                splits_told={r.symbol: (date.min, date.max) for r in wanted} if content.knows_splits else {},
            )
        )
    if failures:
        first = answers[0] if answers else DailyAnswer(VENDOR, Basis.RAW, None, BarBatch.empty())
        answers[:1] = [replace(first, failures=failures)]
    return answers


def _unreadable(content: Content, requests: Iterable[BarRequest]) -> Iterable[UnreadableRow]:
    for request in requests:
        rows = content.unreadable.get(request.symbol, ())
        asked = set(request.sessions.tolist()) if rows else set()
        yield from (row for row in rows if row.session is None or row.session in asked)


def _missing(content: Content, symbol: str) -> VendorError:
    for table in content.broken:
        if table.file_symbol == symbol and table.failure:
            return MalformedResponse(VENDOR, table.path.name + " can't be read", symbol=symbol)
    if content.broken:
        names = ", ".join(t.path.name for t in content.broken)
        return MalformedResponse(VENDOR, f"no readable file holds it; these can't be read: {names}", symbol=symbol)
    return SymbolNotFound(VENDOR, "no file of the folder holds it", symbol=symbol)

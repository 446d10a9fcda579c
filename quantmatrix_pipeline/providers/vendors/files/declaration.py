"""source.toml: what the files of a folder are, as declared by the one who put them there."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline.bars.dividends import Convention
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.providers.answers import Kind
from quantmatrix_pipeline.providers.symbols import canonical
from quantmatrix_pipeline.providers.vendors.files.membership import MembershipEntry
from quantmatrix_pipeline.providers.vendors.files.tables import SUFFIXES

DECLARATION = "source.toml"
INDICES = ("SP500", "NASDAQ100", "DOW30", "R2000")
_Choice = TypeVar("_Choice", bound=StrEnum)
_TOP = {"bars", "constituents", "membership", "actions", "instruments", "symbols"}
_BARS = {"path", "basis", "basis_date", "convention", "kind", "currency", "symbols", "columns"}
_ACTIONS = {"splits", "dividends"}
_NAMES = {"renames", "reuses"}
# What a [membership] table is read from, and what may stand beside it.
_MEMBERSHIP = {"spells": {"changes"}, "members": {"on", "changes"}, "years": set(), "lists": {"name"}}
_REACH = {"from", "to"}


@dataclass(frozen=True, slots=True)
class BarsEntry:
    """One `[[bars]]` entry; `paths()` are the files that it stands for now."""

    folder: Path
    path: str
    basis: Basis
    basis_date: date | None
    kind: Kind
    currency: str
    symbols: frozenset[str] | None
    columns: tuple[str, ...] | None
    convention: Convention  # by which a total return measures dividends; matters to `split_dividend` only

    def paths(self) -> list[Path]:
        """Return the entry's files in the order of their names."""
        target = self.folder / self.path
        if target.is_dir():
            found = [p for p in target.iterdir() if p.is_file()]
        elif target.is_file():
            found = [target]
        else:
            anchor = Path(target.anchor) if Path(self.path).is_absolute() else self.folder
            found = [p for p in anchor.glob(str(target.relative_to(anchor))) if p.is_file()]
        return sorted(p for p in found if p.name.lower().endswith(SUFFIXES))


@dataclass(frozen=True, slots=True)
class Declaration:
    """The whole of a source.toml, with every path made absolute."""

    file: Path
    bars: tuple[BarsEntry, ...]
    constituents: Mapping[str, Path]
    splits: Path | None
    dividends: Path | None
    instruments: Path | None
    membership: tuple[MembershipEntry, ...] = ()
    renames: Path | None = None
    reuses: Path | None = None


def read_declaration(folder: Path) -> Declaration:
    """Read and check `folder/source.toml`.

    Raises
    ------
    ConfigurationError
        If folder or file is missing, is no TOML, has an unknown key or a value of the wrong kind, or names a file that
        is not there.
    """
    file = folder / DECLARATION
    if not folder.is_dir():
        raise ConfigurationError(f"QM_FILES_DIR={str(folder)!r}: no such folder")
    if not file.is_file():
        raise ConfigurationError(
            f"QM_FILES_DIR={str(folder)!r} holds no {DECLARATION}; it says which files hold bars and on what basis"
        )
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: no valid TOML: {error}") from error
    _known(file, "", content, _TOP)
    entries = content.get("bars")
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        raise ConfigurationError(f"{file}: needs at least one [[bars]] entry with path and basis")
    actions = _table(file, "actions", content, _ACTIONS)
    instruments = _table(file, "instruments", content, {"path"})
    constituents = _table(file, "constituents", content, set(INDICES))
    names = _table(file, "symbols", content, _NAMES)
    membership = _table(file, "membership", content, set(INDICES))
    return Declaration(
        file=file,
        bars=tuple(_bars(file, number, entry) for number, entry in enumerate(entries, start=1)),
        constituents={index: _existing(file, f"constituents.{index}", p) for index, p in constituents.items()},
        splits=_existing(file, "actions.splits", actions["splits"]) if "splits" in actions else None,
        dividends=_existing(file, "actions.dividends", actions["dividends"]) if "dividends" in actions else None,
        instruments=_existing(file, "instruments.path", instruments["path"]) if "path" in instruments else None,
        membership=tuple(_membership(file, index, entry) for index, entry in membership.items()),
        renames=_existing(file, "symbols.renames", names["renames"]) if "renames" in names else None,
        reuses=_existing(file, "symbols.reuses", names["reuses"]) if "reuses" in names else None,
    )


def _membership(file: Path, index: str, entry: Any) -> MembershipEntry:
    where = f"membership.{index}"
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{file}: {where} must be a table: [{where}]")
    kinds = [kind for kind in _MEMBERSHIP if kind in entry]
    if len(kinds) != 1:
        raise ConfigurationError(f"{file}: {where}: needs one of {', '.join(_MEMBERSHIP)}; has {len(kinds)}")
    (kind,) = kinds
    _known(file, f"{where}.", entry, {kind} | _MEMBERSHIP[kind] | _REACH)
    days = {key: _day(file, f"{where}.{key}", entry.get(key)) for key in ("on", "from", "to")}
    if kind == "members" and days["on"] is None:
        raise ConfigurationError(f"{file}: {where}.on: say on which day the list of members was true: on = 2025-12-01")
    paths = {
        key: _existing(file, f"{where}.{key}", entry[key]) if key in entry else None
        for key in ("spells", "members", "lists", "changes")
    }
    name = entry.get("name")
    if not isinstance(name, str | None):
        raise ConfigurationError(f"{file}: {where}.name: {name!r} is no text, such as 'nasdaq100'")
    return MembershipEntry(
        index,
        **paths,
        on=days["on"],
        years=_matching(file, f"{where}.years", entry["years"]) if kind == "years" else (),
        name=name,
        covered_from=days["from"],
        covered_to=days["to"],
    )


def _matching(file: Path, where: str, value: Any) -> tuple[Path, ...]:
    """Return the files that a pattern stands for, sorted."""
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{file}: {where}: name the files by a pattern such as 'changes/*.yaml'")
    pattern = file.parent / value
    found = tuple(sorted(p for p in pattern.parent.glob(pattern.name) if p.is_file()))
    if not found:
        raise ConfigurationError(f"{file}: {where}: {value!r} matches no file")
    return found


def _day(file: Path, where: str, value: Any) -> date | None:
    if isinstance(value, datetime) or not isinstance(value, date | None):
        raise ConfigurationError(f"{file}: {where}: {value!r} is no date; write 2024-03-31 unquoted")
    return value


def _bars(file: Path, number: int, entry: Mapping[str, Any]) -> BarsEntry:
    where = f"bars[{number}]"
    _known(file, f"{where}.", entry, _BARS)
    path = entry.get("path")
    if not isinstance(path, str) or not path:
        raise ConfigurationError(f"{file}: {where}.path: name a file, a folder or a pattern such as 'daily/*.parquet'")
    basis = _one_of(file, f"{where}.basis", entry.get("basis"), Basis)
    basis_date = _day(file, f"{where}.basis_date", entry.get("basis_date"))
    if (basis is Basis.RAW) != (basis_date is None):
        why = "raw prices have none" if basis is Basis.RAW else "say until when splits are contained in the prices"
        raise ConfigurationError(f"{file}: {where}.basis_date: {why} (basis = {basis.value!r})")
    currency = entry.get("currency", "USD")
    if not isinstance(currency, str) or len(currency) != 3:
        raise ConfigurationError(f"{file}: {where}.currency: {currency!r} is no three-letter code such as 'USD'")
    columns = _strings(file, f"{where}.columns", entry.get("columns"))
    made = BarsEntry(
        folder=file.parent,
        path=path,
        basis=basis,
        basis_date=basis_date,
        kind=_one_of(file, f"{where}.kind", entry.get("kind", Kind.STOCK), Kind),
        currency=currency.upper(),
        symbols=_symbols(file, f"{where}.symbols", entry.get("symbols")),
        columns=None if columns is None else tuple(columns),
        convention=_one_of(file, f"{where}.convention", entry.get("convention", Convention.PREVIOUS_CLOSE), Convention),
    )
    if not made.paths():
        raise ConfigurationError(f"{file}: {where}.path: {path!r} matches no {', '.join(SUFFIXES)} file")
    return made


def _known(file: Path, where: str, table: Mapping[str, Any], keys: set[str]) -> None:
    for key in table:
        if key not in keys:
            raise ConfigurationError(f"{file}: unknown key {where}{key}; known are {', '.join(sorted(keys))}")


def _table(file: Path, name: str, content: Mapping[str, Any], keys: set[str]) -> Mapping[str, Any]:
    table = content.get(name, {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"{file}: {name} must be a table: [{name}]")
    _known(file, f"{name}.", table, keys)
    return table


def _existing(file: Path, where: str, value: Any) -> Path:
    if not isinstance(value, str):
        raise ConfigurationError(f"{file}: {where}: {value!r} is no file name")
    path = file.parent / value
    if not path.is_file():
        raise ConfigurationError(f"{file}: {where}: no such file: {value}")
    return path


def _one_of(file: Path, where: str, value: Any, kind: type[_Choice]) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        allowed = " | ".join(member.value for member in kind)
        raise ConfigurationError(f"{file}: {where}: {value!r} is none of {allowed}") from None


def _strings(file: Path, where: str, value: Any) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise ConfigurationError(f"{file}: {where}: must be a list of strings")
    return value


def _symbols(file: Path, where: str, value: Any) -> frozenset[str] | None:
    names = _strings(file, where, value)
    if names is None:
        return None
    found = {name: canonical(name) for name in names}
    for name, symbol in found.items():
        if symbol is None:
            raise ConfigurationError(f"{file}: {where}: {name!r} is no symbol")
    return frozenset(s for s in found.values() if s)

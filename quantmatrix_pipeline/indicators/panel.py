"""The panel: daily bars of many instruments side by side, in bar space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.indicators.stage_rules import DEFAULT_RULES, StageRules

if TYPE_CHECKING:
    from quantmatrix_pipeline.indicators.benchmark import Benchmark

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Dates = npt.NDArray[np.datetime64]

PRICES = ("open", "high", "low", "close")
_INSTRUMENTS_AT_ONCE = 128  # a padded piece of one field stays within the cache while it is transposed
_ROWS_AT_ONCE = 128


@dataclass(frozen=True, slots=True)
class Panel:
    """n instruments x their bars; row k holds the k-th bar of every instrument, whatever its date.

    Left-aligned, so that the bars of an instrument are rows 0..length-1 and nothing else stands between them: a halt
    or a hole takes no row. Rows from `length` on are a tail of NaN and NaT. C-ordered: one row is one contiguous
    vector.

    Attributes
    ----------
    instrument_ids
        Shape (n,), int32.
    length
        Shape (n,), int64: how many bars an instrument has, at least 1.
    session
        Shape (bars, n), datetime64[D]: strictly ascending within an instrument.
    open, high, low, close
        Shape (bars, n): forward-adjusted prices, that is in the unit of the instrument's first share: the price as
        traded times `unit`. A later split changes no earlier row.
    volume
        Shape (bars, n): shares, forward-adjusted (as traded, divided by `unit`).
    unit
        Shape (bars, n): product of the ratios of all splits with an ex-date on or before the session; 1.0 where none is
        known.
    stage_rules
        The thresholds of the weekly stage.
    benchmark
        What relative strength is measured against; without one there is none.
    dividends_in
        Shape (n,): whose prices include dividends; None where nobody's do.
    sector
        Shape (n,), int32: the number of each instrument's sector, -1 where it is not known; None where nobody's is.
    """

    instrument_ids: npt.NDArray[np.int32]
    length: npt.NDArray[np.int64]
    session: Dates
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    unit: Floats
    stage_rules: StageRules = DEFAULT_RULES
    benchmark: Benchmark | None = None
    dividends_in: Bools | None = None
    sector: npt.NDArray[np.int32] | None = None

    @property
    def bars(self) -> int:
        """Rows of the panel: the longest instrument's number of bars."""
        return int(self.close.shape[0])

    @property
    def width(self) -> int:
        """Number of instruments."""
        return int(self.close.shape[1])

    @classmethod
    def from_rows(
        cls,
        instrument_id: npt.NDArray[np.integer],
        session: Dates,
        open: Floats,  # noqa: A002 - the field's own name
        high: Floats,
        low: Floats,
        close: Floats,
        volume: Floats,
        unit: Floats | None = None,
    ) -> Panel:
        """Arrange rows that are sorted by (instrument, session) as a panel.

        Parameters
        ----------
        instrument_id, session, open, high, low, close, volume, unit
            Shape (rows,) each, as the attributes of the same name describe them: prices and volumes already
            forward-adjusted. No `unit` means that no split is known.

        Raises
        ------
        QuantMatrixError
            The columns differ in length, the rows are not strictly ascending in (instrument, session), or a price or
            volume is not finite; names the first such row.
        """
        columns = {"open": open, "high": high, "low": low, "close": close, "volume": volume}
        if unit is not None:
            columns["unit"] = unit
        for name, column in {"session": session, **columns}.items():
            if column.shape != (len(instrument_id),):
                raise QuantMatrixError(
                    f"panel: column {name} has shape {column.shape}, instrument_id has {instrument_id.shape}; "
                    "hand over columns of equal length"
                )
        session = session.astype("datetime64[D]", copy=False)
        starts, length = _lives(instrument_id, session)
        for name in columns:
            _refuse_non_finite(name, columns[name], instrument_id, session)
        bars = int(length.max(initial=0))
        edges = np.append(starts, len(session))
        aligned = _left_align(session, edges, bars, np.datetime64("NaT", "D"))
        return cls(
            instrument_ids=instrument_id[starts].astype(np.int32),
            length=length,
            session=aligned,
            open=_left_align(columns["open"], edges, bars, np.nan),
            high=_left_align(columns["high"], edges, bars, np.nan),
            low=_left_align(columns["low"], edges, bars, np.nan),
            close=_left_align(columns["close"], edges, bars, np.nan),
            volume=_left_align(columns["volume"], edges, bars, np.nan),
            unit=_ones_where(aligned) if unit is None else _left_align(unit, edges, bars, np.nan),
        )

    def cut(self, bars: int) -> Panel:
        """Return the panel as it was after its first `bars` rows; instruments with more bars lose the later ones."""
        return self._map(slice(0, bars), slice(None), np.minimum(self.length, bars))

    def select(self, columns: npt.NDArray[np.integer]) -> Panel:
        """Return the panel of the instruments at these positions, in this order."""
        return self._map(slice(None), columns, self.length[columns])

    def _map(self, rows: slice, columns: slice | npt.NDArray[np.integer], length: npt.NDArray[np.int64]) -> Panel:
        fields: dict[str, Any] = {
            name: np.ascontiguousarray(getattr(self, name)[rows, columns])
            for name in ("session", *PRICES, "volume", "unit")
        }
        for name in ("dividends_in", "sector"):
            if (per_instrument := getattr(self, name)) is not None:
                fields[name] = per_instrument[columns]
        return replace(self, instrument_ids=self.instrument_ids[columns], length=length, **fields)


def _lives(
    instrument_id: npt.NDArray[np.integer], session: Dates
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    """Return the row at which each instrument begins, and how many rows it has."""
    if len(session) == 0:
        return np.empty(0, np.intp), np.empty(0, np.int64)
    changes = instrument_id[1:] != instrument_id[:-1]
    disorder = np.where(changes, instrument_id[1:] < instrument_id[:-1], ~(session[1:] > session[:-1]))
    if disorder.any():
        row = int(disorder.argmax()) + 1
        raise QuantMatrixError(
            f"panel: row {row} (instrument {instrument_id[row]}, session {session[row]}) does not come after "
            f"row {row - 1} (instrument {instrument_id[row - 1]}, session {session[row - 1]}); "
            "sort by instrument and session, one bar per session"
        )
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    return starts, np.diff(starts, append=len(session)).astype(np.int64)


def _refuse_non_finite(name: str, column: Floats, instrument_id: npt.NDArray[np.integer], session: Dates) -> None:
    sound = np.isfinite(column)
    if not sound.all():
        row = int(sound.argmin())
        raise QuantMatrixError(
            f"panel: row {row} (instrument {instrument_id[row]}, session {session[row]}) has {name} = {column[row]}; "
            "only validated bars make a panel, drop the others first"
        )


def _ones_where(session: Dates) -> Floats:
    unit = np.ones(session.shape)
    unit[np.isnat(session)] = np.nan
    return unit


def _left_align(
    column: npt.NDArray[Any], edges: npt.NDArray[np.integer], bars: int, missing: object
) -> npt.NDArray[Any]:
    """Return shape (bars, n): instrument i's rows edges[i]..edges[i+1] become the head of column i.

    Works through small padded pieces (sequential reads, then a transposition inside the cache): scattering the rows
    one by one would touch a new page for each value.
    """
    n = len(edges) - 1
    panel = np.empty((bars, n), column.dtype)
    padded = np.empty((_INSTRUMENTS_AT_ONCE, bars), column.dtype)
    ends = edges.tolist()
    ragged = bool((np.diff(edges) < bars).any())
    for first in range(0, n, _INSTRUMENTS_AT_ONCE):
        last = min(first + _INSTRUMENTS_AT_ONCE, n)
        piece = padded[: last - first]
        if ragged:
            piece.fill(missing)
        for own, begin, end in zip(piece, ends[first:last], ends[first + 1 : last + 1], strict=True):
            own[: end - begin] = column[begin:end]  # one copy of a whole life: a mask would cost more per value
        for row in range(0, bars, _ROWS_AT_ONCE):
            panel[row : row + _ROWS_AT_ONCE, first:last] = piece[:, row : row + _ROWS_AT_ONCE].T
    return panel

"""Which families have to run, and where their columns go, when only some of the columns are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.indicators.averages import AverageOrder, ExponentialAverages, SimpleAverages
from quantmatrix_pipeline.indicators.catalogue import COLUMN_INDEX, ENGINE_COLUMNS, LOOKBACK, MA_BUCKET_LABELS
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.gaps import OpenGaps
from quantmatrix_pipeline.indicators.matrix import AtrMatrix
from quantmatrix_pipeline.indicators.momentum import MovingAverageConvergenceDivergence, RelativeStrengthIndex
from quantmatrix_pipeline.indicators.performance import BarPerformance, CalendarPerformance
from quantmatrix_pipeline.indicators.ranges import RangePosition
from quantmatrix_pipeline.indicators.relative_strength import MansfieldRelativeStrength
from quantmatrix_pipeline.indicators.stage import WeeklyStage
from quantmatrix_pipeline.indicators.td_sequential import TdSequential
from quantmatrix_pipeline.indicators.trend import DirectionalMovement
from quantmatrix_pipeline.indicators.trend_lines import TrendLines
from quantmatrix_pipeline.indicators.volatility import AverageTrueRange
from quantmatrix_pipeline.indicators.volume import OnBalanceVolume, VolumeAverages, YearToDateVwap

FAMILIES: tuple[type[Family], ...] = (  # in this order: a later family may read what an earlier one left
    SimpleAverages,
    ExponentialAverages,
    RelativeStrengthIndex,
    MovingAverageConvergenceDivergence,
    AverageTrueRange,
    DirectionalMovement,
    BarPerformance,
    CalendarPerformance,
    RangePosition,
    AverageOrder,
    WeeklyStage,
    MansfieldRelativeStrength,
    AtrMatrix,
    VolumeAverages,
    OnBalanceVolume,
    YearToDateVwap,
    TdSequential,
    OpenGaps,
    TrendLines,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run for some columns; get one from `plan_for`.

    Attributes
    ----------
    families
        In the order of `FAMILIES`: those that write a column asked for, and those that they read.
    places
        Column -> its place in the output.
    lookbacks
        (place, bars before the first value) of the columns whose first rows are blank.
    whole
        Places of the columns that hold no fractions, and might hold a number beyond an instrument's last bar.
    levels, shares
        Places of the columns that are told in the shares of the row's own session: prices, numbers of shares.
    """

    families: tuple[type[Family], ...]
    places: dict[str, int]
    lookbacks: tuple[tuple[int, int], ...]
    whole: tuple[int, ...]
    levels: tuple[int, ...]
    shares: tuple[int, ...]


def plan_for(columns: Iterable[str] | None) -> Plan:
    """Plan for these columns of the engine, in this order; None: for all of them, in the catalogue's order.

    Raises
    ------
    QuantMatrixError
        The engine has no such column, or one is asked for twice.
    """
    return _plan(tuple(COLUMN_INDEX) if columns is None else tuple(columns))


@cache
def _plan(columns: tuple[str, ...]) -> Plan:
    if unknown := [name for name in columns if name not in COLUMN_INDEX]:
        raise QuantMatrixError(
            f"the engine computes no column {', '.join(unknown)}; catalogue.ENGINE_COLUMNS holds those that it does"
        )
    if len(set(columns)) < len(columns):
        raise QuantMatrixError(f"each column can be asked for once, these are {', '.join(columns)}")
    families = _needed(columns)
    kept = [(place, ENGINE_COLUMNS[COLUMN_INDEX[name]]) for place, name in enumerate(columns)]
    return Plan(
        families,
        {name: place for place, name in enumerate(columns)},
        tuple(
            (place, LOOKBACK[COLUMN_INDEX[column.name]])
            for place, column in kept
            if LOOKBACK[COLUMN_INDEX[column.name]] and column.labels[:1] != MA_BUCKET_LABELS[:1]  # UNKNOWN there
        ),
        tuple(place for place, column in kept if column.kind != "float"),
        tuple(place for place, column in kept if column.level),
        tuple(place for place, column in kept if column.shares),
    )


def _needed(columns: Sequence[str]) -> tuple[type[Family], ...]:
    needed, read = [], set(columns)
    for family in reversed(FAMILIES):  # what a family reads stands before it
        if not read.isdisjoint(family.columns):
            needed.append(family)
            read.update(family.reads)
    return tuple(reversed(needed))

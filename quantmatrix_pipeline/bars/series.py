"""Stored bars as the series that a reader asks for: as traded, in one day's shares, or with dividends reinvested."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from quantmatrix_pipeline.bars.adjustment import Adjust
from quantmatrix_pipeline.bars.batch import Basis, Dates, Ints
from quantmatrix_pipeline.bars.dividends import CashDividends, Convention, DividendTable, RefusedDividend
from quantmatrix_pipeline.bars.rules import USABLE_QUALITY
from quantmatrix_pipeline.bars.stored import SourceIds, Sources, paid_until, split_table, stored_units

OHLC = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The series asked for.

    Attributes
    ----------
    adjust
        None: prices on the basis they are stored in.
    convention
        By which close dividends are measured; matters to a total return only.
    """

    adjust: Adjust | None = None
    convention: Convention = Convention.PREVIOUS_CLOSE

    @property
    def by(self) -> Convention | None:
        """The convention, where it matters."""
        return self.convention if self.adjust is Adjust.TOTAL_RETURN else None


AS_STORED = Wanted()


def series(
    bars: pa.Table, wanted: Wanted, sources: Sources, splits: pa.Table, dividends: pa.Table
) -> tuple[pa.Table, list[RefusedDividend]]:
    """Return stored bars in the series wanted, the factors beside the prices.

    Each instrument's series is in the shares, and as of the money, of its last bar among these: an action after that is
    of no concern to it, and the same bars are the same series whenever they are asked for.

    Parameters
    ----------
    bars
        instrument_id, session, open .. close, volume, quality_score, source_id and any other columns, ascending by
        instrument and session. Dividends are measured by closes of usable bars (a score of 0.5 or more).
    splits
        In force: instrument_id, ex_date, numerator, denominator.
    dividends
        In force, in the currency of the prices: instrument_id, ex_date, amount (float64).

    Returns
    -------
    The bars with two more columns: `factor`, the price here by the price as stored, and `volume_factor`, which
    dividends leave alone; and the dividends that no factor could be made of.

    Raises
    ------
    ValueError
        `raw` is asked of prices that their vendor had adjusted.
    """
    own: Ints = bars["instrument_id"].to_numpy()
    session: Dates = bars["session"].to_numpy().astype("datetime64[D]")
    source: SourceIds = bars["source_id"].to_numpy()
    refused: list[RefusedDividend] = []
    if wanted.adjust is Adjust.RAW and (others := adjusted_sources(source, sources)):
        raise ValueError(
            "prices as traded are not known: " + "; ".join(f"{v} gave {b} as of {d}" for v, b, d in others)
        )
    price = volume = np.ones(len(session))
    if wanted.adjust in (Adjust.SPLIT, Adjust.TOTAL_RETURN) and len(session):
        until = session[np.searchsorted(own, own, side="right") - 1]
        table = split_table(splits)
        unit = stored_units(table, own, session, source, sources)
        price = unit / table.unit(own, until)
        volume = 1 / price
        if wanted.adjust is Adjust.TOTAL_RETURN and dividends.num_rows:
            usable = bars["quality_score"].to_numpy() >= USABLE_QUALITY
            forward_close = (bars["close"].to_numpy() * unit)[usable]
            cash = CashDividends(
                dividends["instrument_id"].to_numpy(),
                dividends["ex_date"].to_numpy().astype("datetime64[D]"),
                dividends["amount"].to_numpy(),
            )
            growth, refused = DividendTable.build(
                cash, own[usable], session[usable], forward_close, table, wanted.convention
            )
            price = price * (growth.unit(own, paid_until(session, source, sources)) / growth.unit(own, until))
    for name in OHLC:
        bars = bars.set_column(bars.column_names.index(name), name, pa.array(bars[name].to_numpy() * price))
    shares = pa.array(bars["volume"].to_numpy() * volume)
    bars = bars.set_column(bars.column_names.index("volume"), "volume", shares)
    return bars.append_column("factor", pa.array(price)).append_column("volume_factor", pa.array(volume)), refused


def adjusted_sources(source_id: SourceIds, sources: Sources) -> list[tuple[str, str, date | None]]:
    """Return (vendor, basis, basis_date) of those sources of these bars that are not as traded, by their number."""
    present = [sources[int(number)] for number in np.unique(source_id)]
    return [source for source in present if source[1] != Basis.RAW]

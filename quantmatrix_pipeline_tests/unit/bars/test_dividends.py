"""Total return: both conventions against literal arithmetic and against two published sets of factors."""

from __future__ import annotations

import itertools
from datetime import datetime
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.bars.adjustment import SplitTable
from quantmatrix_pipeline.bars.dividends import CashDividends, Convention, DividendTable, undo_dividends
from quantmatrix_pipeline_tests.shared_data import shared_data

DAY0 = np.datetime64("2020-01-01", "D")
BOTH = list(Convention)


def series(length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return days with gaps between them, and closes in cents."""
    rng = np.random.default_rng(seed)
    return DAY0 + np.cumsum(rng.integers(1, 4, length)), np.round(rng.uniform(20, 30, length), 2)


def literal_factors(
    session: np.ndarray,
    close: np.ndarray,
    splits: dict[np.datetime64, Fraction],
    dividends: dict[np.datetime64, float],
    convention: Convention,
) -> np.ndarray:
    """Return by what each price as traded is multiplied to stand in the last session's total-return series."""
    factor = np.ones(len(session))
    for day in {*splits, *dividends}:
        before, behind = np.flatnonzero(session < day), np.flatnonzero(session >= day)
        if not len(before) or not len(behind):
            continue
        s, d = float(splits.get(day, 1)), dividends.get(day, 0.0)
        if convention is Convention.PREVIOUS_CLOSE:
            factor[before] *= (1 - d / close[before[-1]]) / s
        else:
            factor[before] *= 1 / (s + d / close[behind[0]])
    return factor


def tables(
    session: np.ndarray,
    close: np.ndarray,
    splits: dict[np.datetime64, Fraction],
    dividends: dict[np.datetime64, float],
    convention: Convention,
) -> tuple[SplitTable, DividendTable]:
    own = np.zeros(len(session), np.int32)
    steps = SplitTable.build([0] * len(splits), np.array(list(splits), "datetime64[D]"), splits.values())
    cash = CashDividends(
        np.zeros(len(dividends), np.int32),
        np.array(list(dividends), "datetime64[D]"),
        np.array(list(dividends.values()), float),
    )
    growth, refused = DividendTable.build(cash, own, session, close * steps.unit(own, session), steps, convention)
    assert refused == []
    return steps, growth


def factors(session: np.ndarray, steps: SplitTable, growth: DividendTable) -> np.ndarray:
    own = np.zeros(len(session), np.int32)
    value = steps.unit(own, session) * growth.unit(own, session)
    return value / value[-1]


def ex_dates(session: np.ndarray, wanted: list[int]) -> list[np.datetime64]:
    """Return those of the days that are days of trade, or lie before the series."""
    days = DAY0 + np.array(wanted, int)
    return list(days[np.isin(days, session) | (days < session[0])])


days = st.lists(st.integers(-3, 60), max_size=6, unique=True)


@pytest.mark.parametrize("convention", BOTH)
@given(days, days, st.integers(0, 10**6))
def test_factors_are_the_products_of_the_formula_as_it_is_written(
    convention: Convention, split_days: list[int], paid_days: list[int], seed: int
) -> None:
    session, close = series(20, seed)
    splits = dict.fromkeys(ex_dates(session, split_days), Fraction(3, 2))
    dividends = dict.fromkeys(ex_dates(session, paid_days), 0.25)
    steps, growth = tables(session, close, splits, dividends, convention)
    expected = literal_factors(session, close, splits, dividends, convention)
    np.testing.assert_allclose(factors(session, steps, growth), expected, rtol=1e-14)


@pytest.mark.parametrize("convention", BOTH)
@given(days, days, st.integers(0, 10**6), st.integers(0, 70))
def test_a_vendor_s_adjustment_for_both_is_undone_to_the_bit(
    convention: Convention, split_days: list[int], paid_days: list[int], seed: int, basis_day: int
) -> None:
    session, close = series(20, seed)
    basis_date = DAY0 + basis_day
    splits = dict.fromkeys((day for day in ex_dates(session, split_days) if day <= basis_date), Fraction(2))
    dividends = dict.fromkeys((day for day in ex_dates(session, paid_days) if day <= basis_date), 0.31)
    steps, growth = tables(session, close, splits, dividends, convention)
    own = np.zeros(20, np.int32)
    raw, volume = np.stack([close - 0.5, close + 1, close - 1, close]), np.arange(1.0, 21) * 100
    until = np.maximum(session, basis_date)
    split_part = steps.unit(own, session) / steps.unit(own, until)
    adjusted = raw * split_part * (growth.unit(own, session) / growth.unit(own, until))
    price, shares = undo_dividends(
        adjusted, volume / split_part, session, basis_date, steps, list(dividends.items()), convention
    )
    assert price.tolist() == raw.tolist()
    assert shares.tolist() == volume.tolist()


def test_several_dividends_of_one_day_count_as_their_sum() -> None:
    session, close = series(5, 1)
    own = np.zeros(5, np.int32)
    none = SplitTable.none()

    def table(amounts: list[float]) -> np.ndarray:
        day = np.full(len(amounts), session[2])
        cash = CashDividends(np.zeros(len(amounts), np.int32), day, np.array(amounts))
        return DividendTable.build(cash, own, session, close, none, Convention.PREVIOUS_CLOSE)[0].unit(own, session)

    np.testing.assert_array_equal(table([0.25, 0.5]), table([0.75]))


def test_a_dividend_as_large_as_the_price_is_refused_and_named() -> None:
    session, close = series(5, 1)
    own = np.zeros(5, np.int32)
    cash = CashDividends(np.zeros(2, np.int32), session[[2, 3]], np.array([close[1], 0.5]))
    arguments = (cash, own, session, close, SplitTable.none())
    growth, (refused,) = DividendTable.build(*arguments, Convention.PREVIOUS_CLOSE)
    assert (refused.ex_date, refused.amount, refused.close) == (session[2].item(), close[1], close[1])
    assert str(refused.ex_date) in str(refused)
    assert growth.unit(own, session).tolist() == [1.0] * 3 + [1 / (1 - 0.5 / close[2])] * 2
    assert DividendTable.build(*arguments, Convention.EX_CLOSE)[1] == []


def test_the_next_instrument_s_bars_are_nobody_else_s_closes() -> None:
    session = np.tile(DAY0 + np.arange(3), 2)
    own = np.repeat(np.array([4, 7], np.int32), 3)
    close = np.array([10.0, 10, 10, 20, 20, 20])
    cash = CashDividends(np.array([7, 4, 5], np.int32), DAY0 + np.array([0, 1, 1]), np.array([1.0, 1.0, 1.0]))
    for convention in BOTH:
        growth, _ = DividendTable.build(cash, own, session, close, SplitTable.none(), convention)
        assert (growth.unit(own, session) == 1).tolist() == [True, False, False, True, True, True]


def test_two_bars_of_one_day_are_not_guessed_about() -> None:
    day = np.array([DAY0, DAY0])
    with pytest.raises(ValueError, match="ascend"):
        undo_dividends(np.ones((4, 2)), np.ones(2), day, DAY0, SplitTable.none(), [], Convention.EX_CLOSE)


# --- published factors ------------------------------------------------------------------------------------------------


def test_ex_close_gives_the_adjusted_prices_that_a_vendor_publishes_beside_raw_ones_to_1e_9() -> None:
    table = pd.read_parquet(shared_data("raw_and_actions", "raw_adjusted_dividends_splits.parquet"))
    checked = paid = 0
    for _, bars in table.sort_values("date").groupby("symbol"):
        session = pd.to_datetime(bars["date"]).to_numpy().astype("datetime64[D]")
        close = bars["close"].to_numpy()
        ratios = bars["splitfactor"].to_numpy()
        splits = {day: Fraction(str(s)) for day, s in zip(session, ratios, strict=True) if s != 1}
        dividends = {day: d for day, d in zip(session, bars["divcash"].to_numpy(), strict=True) if d > 0}
        factor = factors(session, *tables(session, close, splits, dividends, Convention.EX_CLOSE))
        for name in ("open", "high", "low", "close"):
            np.testing.assert_allclose(bars[name].to_numpy() * factor, bars[f"adj{name}"].to_numpy(), rtol=1e-9)
            checked += len(bars)
        paid += len(dividends)
    assert (checked, paid) == (4 * len(table), 100)


SPLITS = {
    "aapl": {"2000-06-21": 2, "2005-02-28": 2, "2014-06-09": 7, "2020-08-31": 4},
    "bac": {"2004-08-30": 2},
    "eem": {"2005-06-09": 3, "2008-07-24": 3},
    "iwm": {"2005-06-09": 2},
    "qqq": {"2000-03-20": 2},
    "spy": {},
}
# What the published reference price has other than the bars: another company's past, and years without bars.
OTHER_REFERENCES = {"aapl": 0, "bac": 3, "eem": 0, "iwm": 0, "qqq": 24, "spy": 0}


@pytest.mark.parametrize("symbol", SPLITS)
def test_previous_close_gives_the_published_price_and_split_factors_to_5e_6(symbol: str) -> None:
    """A row (date, price factor, split factor, reference price) holds up to that day, the last before an ex-date.

    The files name no amounts: they are taken out of the steps of the price factor, to the 1/100 cent in which dividends
    are declared (a factor of seven digits tells no more), and lead back to the factor by way of the bars' closes.
    """
    bars = pd.read_parquet(shared_data("raw_and_actions", "raw_unadjusted.parquet"))
    bars = bars[bars["symbol"] == symbol.upper()].sort_values("date")
    session = pd.to_datetime(bars["date"]).to_numpy().astype("datetime64[D]")
    close = dict(zip(session, bars["close"].to_numpy(), strict=True))
    names = ["day", "price", "split", "reference"]
    published = pd.read_csv(shared_data("raw_and_actions", "factor_files", f"{symbol}.csv"), header=None, names=names)
    rows = [
        row | {"day": np.datetime64(datetime.strptime(f"{row['day']:.0f}", "%Y%m%d").date())}  # noqa: DTZ007
        for row in published.to_dict("records")
    ]
    dividends: dict[np.datetime64, float] = {}
    other = 0
    for row, following in itertools.pairwise(rows):
        step = row["price"] / following["price"]
        amount = round((1 - step) * row["reference"], 4)
        if row["reference"] > 1 and amount > 0:
            dividends[row["day"] + 1] = amount
        if abs(close.get(row["day"], 0.0) / row["reference"] - 1) > 1e-4 and row["reference"] > 1:
            close[row["day"]] = row["reference"]
            other += 1
    assert other == OTHER_REFERENCES[symbol]
    session = np.array(sorted(close), "datetime64[D]")
    closes = np.array([close[day] for day in session])
    splits = {np.datetime64(day, "D"): Fraction(ratio) for day, ratio in SPLITS[symbol].items()}
    steps, growth = tables(session, closes, splits, dividends, Convention.PREVIOUS_CLOSE)
    own, until = np.zeros(1, np.int32), session[-1:]
    for row in rows:
        day = np.array([min(row["day"], session[-1])])
        assert steps.unit(own, day) / steps.unit(own, until) == pytest.approx(row["split"], rel=5e-6)
        assert growth.unit(own, day) / growth.unit(own, until) == pytest.approx(row["price"], rel=5e-6)
    assert len(dividends) > 30

"""Two sources' bars side by side: each cause of a difference on bars made for it, and what the real pair comes to."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from quantmatrix_pipeline.bars.batch import BarBatch
from quantmatrix_pipeline.bars.reconcile.causes import CAUSES, LOOKS_LIKE, Cause
from quantmatrix_pipeline.bars.reconcile.classify import Comparison, Limits, compare
from quantmatrix_pipeline.bars.reconcile.pair import CLOSE, HIGH, LOW, OPEN, PRICE_ROWS, VOLUME, Pair, align
from quantmatrix_pipeline.bars.reconcile.summary import Summary, summarise
from quantmatrix_pipeline.bars.reconcile.verdict import Verdict, against, sides_with, verdict
from quantmatrix_pipeline.providers.vendors.files.tables import read_table
from quantmatrix_pipeline_tests.shared_data import shared_data

ANSWERS = Path(__file__).parents[2] / "answers" / "reconcile_levels.csv"
N, D = 120, 60  # bars, and where the action's ex-date lies
FIRST, SECOND = 0, 1


def sound(n: int = N, seed: int = 5) -> Pair:
    """Return one instrument of which both sources say the same: closes that move by 1 % a day, whole cents."""
    rng = np.random.default_rng(seed)
    close = 40 * np.exp(np.cumsum(rng.normal(0, 0.01, n)))
    before = np.concatenate([close[:1], close[:-1]])
    open_ = before * np.exp(rng.normal(0, 0.004, n))
    high = np.maximum(open_, close) * (1 + rng.uniform(0.001, 0.01, n))
    low = np.minimum(open_, close) * (1 - rng.uniform(0.001, 0.01, n))
    bars = np.round(np.stack([open_, high, low, close, rng.uniform(1e6, 2e6, n) * 100]), 4)
    sessions = np.arange(np.datetime64("2020-01-01"), np.datetime64("2020-01-01") + n)
    return Pair(np.zeros(n, np.int32), sessions, bars, bars.copy())


def cause_at(found: Comparison, row: int) -> Cause:
    return CAUSES[found.cause[row]]


def causes_of(found: Comparison, rows: slice) -> set[Cause]:
    return {CAUSES[k] for k in found.cause[rows]}


def test_what_is_equal_has_no_difference() -> None:
    found = compare(sound())
    assert not found.any_differs.any()
    assert causes_of(found, slice(None)) == {Cause.NONE}


def test_a_tolerance_is_inclusive_and_a_missing_number_is_no_difference() -> None:
    pair = sound()
    pair.second[HIGH, 3] = pair.first[HIGH, 3] * 1.0019
    pair.second[HIGH, 4] = pair.first[HIGH, 4] * 1.0021
    pair.second[VOLUME, 5] = np.nan
    pair.second[VOLUME, 6] = pair.first[VOLUME, 6] * 0.5
    pair.first[VOLUME, 7] = pair.second[VOLUME, 7] = 0
    found = compare(pair)
    assert np.argwhere(found.differs).tolist() == [[HIGH, 4], [VOLUME, 6]]
    assert (cause_at(found, 4), cause_at(found, 6)) == (Cause.BAD_PRINT, Cause.VOLUME)


# --- levels -----------------------------------------------------------------------------------------------------------


def scale(side: np.ndarray, rows: slice, price: float, volume: float | None = None) -> None:
    side[PRICE_ROWS, rows] *= price
    side[VOLUME, rows] *= 1 if volume is None else volume


def fall(pair: Pair, by: float) -> None:
    """Let the price of both sides fall on the ex-date, as it trades."""
    for side in (pair.first, pair.second):
        scale(side, slice(D, None), by)


def split_one_lacks(pair: Pair) -> None:
    fall(pair, 1 / 4)
    scale(pair.first, slice(None, D), 1 / 4, 4)


def consolidation(pair: Pair) -> None:
    fall(pair, 1 / 0.9042)  # that is, rise
    scale(pair.second, slice(None, D), 1 / 0.9042, 0.9042)


def spin_off_one_lowers(pair: Pair) -> None:
    fall(pair, 0.93)
    scale(pair.second, slice(None, D), 0.93)


def spin_off_by_two_factors(pair: Pair) -> None:
    scale(pair.first, slice(None, D), 1 / 1.28, 1.28)
    scale(pair.second, slice(None, D), 1 / 1.24)


def spin_off_taken_for_a_split(pair: Pair) -> None:
    fall(pair, 1 / 1.462)
    scale(pair.first, slice(None, D), 1 / 1.462, 1.462)


def factor_out_of_nowhere(pair: Pair) -> None:
    scale(pair.second, slice(None, D), 0.95)  # up by 5 % over the day, by no shares and no value


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (split_one_lacks, Cause.SPLIT_VINTAGE),
        (consolidation, Cause.SPLIT_VINTAGE),
        (spin_off_one_lowers, Cause.SPIN_OFF),
        (spin_off_by_two_factors, Cause.SPIN_OFF),
        (spin_off_taken_for_a_split, Cause.SPIN_OFF),
        (factor_out_of_nowhere, Cause.UNEXPLAINED),
    ],
)
def test_a_factor_up_to_a_day_is_told_by_prices_volumes_and_the_move_over_it(
    make: Callable[[Pair], None], cause: Cause
) -> None:
    pair = sound()
    make(pair)
    found = compare(pair)
    assert causes_of(found, slice(None, D)) == {cause}
    assert causes_of(found, slice(D, None)) == {Cause.NONE}
    stretch = found.stretch(0)
    assert stretch is not None
    assert (stretch.last, stretch.ex_date) == (pair.session[D - 1].item(), pair.session[D].item())
    assert stretch.price_ratio == pytest.approx(float(np.median(pair.second[CLOSE, :D] / pair.first[CLOSE, :D])))


def test_an_action_after_the_last_bar_has_no_date_and_one_since_which_they_differ_has_its_first() -> None:
    pair = sound()
    scale(pair.second, slice(None), 1.03, 1 / 1.1)
    stretch = compare(pair).stretch(0)
    assert stretch is not None
    assert (stretch.cause, stretch.ex_date) == (Cause.SPIN_OFF, None)

    pair = sound()
    scale(pair.second, slice(D, None), 1 / 2, 2)  # one of them did not go along
    found = compare(pair)
    assert causes_of(found, slice(D, None)) == {Cause.SPLIT_VINTAGE}
    assert causes_of(found, slice(None, D)) == {Cause.NONE}
    stretch = found.stretch(N - 1)
    assert stretch is not None
    assert stretch.ex_date == pair.session[D].item()


def test_small_steps_of_one_sign_are_dividends() -> None:
    pair = sound(300)
    for at in (40, 100, 160, 220):
        scale(pair.second, slice(None, at), 0.993)
    found = compare(pair)
    assert causes_of(found, slice(None, 220)) == {Cause.DIVIDEND}
    assert causes_of(found, slice(220, None)) == {Cause.NONE}


def test_one_bad_bar_neither_ends_a_stretch_nor_takes_its_cause() -> None:
    pair = sound()
    spin_off_one_lowers(pair)
    pair.second[HIGH, 20] *= 1.2
    found = compare(pair)
    assert cause_at(found, 20) is Cause.BAD_PRINT
    assert causes_of(found, slice(0, 20)) | causes_of(found, slice(21, D)) == {Cause.SPIN_OFF}
    assert found.suspect[20] == SECOND


# --- single bars ------------------------------------------------------------------------------------------------------


def next_days_bar(pair: Pair) -> None:
    pair.second[PRICE_ROWS, D] = pair.second[PRICE_ROWS, D + 1]


def without_range(pair: Pair) -> None:
    pair.first[PRICE_ROWS, D] = pair.first[CLOSE, D - 1]
    pair.first[VOLUME, D] = 0


def open_of_yesterday(pair: Pair) -> None:
    pair.first[[OPEN, HIGH], D] = pair.first[CLOSE, D - 1] = pair.second[CLOSE, D - 1] = pair.first[HIGH, D] * 1.01
    pair.second[HIGH, D - 1] = pair.first[HIGH, D - 1] = pair.first[CLOSE, D - 1] * 1.001


def hardly_traded(pair: Pair) -> None:
    pair.second[PRICE_ROWS, D] *= 1.03
    pair.second[VOLUME, D] *= 0.001


def coarse(pair: Pair) -> None:
    pair.second[PRICE_ROWS, D] = [20.1, 20.4, 19.7, 20.1]
    pair.first[PRICE_ROWS, D] = [20.0, 20.5, 19.5, 20.0]


def one_low_print(pair: Pair) -> None:
    pair.first[LOW, D] *= 0.9


def slipped(pair: Pair) -> None:
    pair.second[:, D] *= [0.01, 0.01, 0.01, 0.01, 1]


def other_close(pair: Pair) -> None:
    pair.second[CLOSE, D] = (pair.first[HIGH, D] + pair.first[LOW, D]) / 2 * 1.0001
    pair.first[CLOSE, D] = pair.first[HIGH, D]


def anything(pair: Pair) -> None:
    pair.second[PRICE_ROWS, D] *= 1.04


@pytest.mark.parametrize(
    ("make", "cause", "suspect"),
    [
        (next_days_bar, Cause.DATE_SHIFT, SECOND),
        (without_range, Cause.REPEATED, FIRST),
        (open_of_yesterday, Cause.REPEATED, FIRST),
        (hardly_traded, Cause.THIN, SECOND),
        (coarse, Cause.ROUNDING, FIRST),
        (one_low_print, Cause.BAD_PRINT, FIRST),
        (slipped, Cause.BAD_PRINT, SECOND),
        (other_close, Cause.CLOSING, -1),
        (anything, Cause.UNEXPLAINED, -1),
    ],
)
def test_a_single_bar_is_told_by_its_own_numbers(make: Callable[[Pair], None], cause: Cause, suspect: int) -> None:
    pair = sound()
    make(pair)
    found = compare(pair)
    assert (cause_at(found, D), found.suspect[D]) == (cause, suspect)
    elsewhere = np.delete(np.arange(N), D)
    assert set(found.cause[elsewhere]) == {CAUSES.index(Cause.NONE)}


def test_who_is_first_makes_no_difference_but_the_side() -> None:
    pair = sound()
    spin_off_by_two_factors(pair)
    pair.first[LOW, 10] *= 0.9
    pair.second[PRICE_ROWS, 30] = pair.second[PRICE_ROWS, 31]
    pair.first[PRICE_ROWS, 90] = pair.first[CLOSE, 89]
    pair.second[VOLUME, 100] *= 0.001
    pair.second[HIGH, 100] *= 1.1
    swapped = Pair(pair.instrument, pair.session, pair.second, pair.first)
    one, other = compare(pair), compare(swapped)
    assert one.cause.tolist() == other.cause.tolist()
    assert {CAUSES[k] for k in one.cause} == {
        Cause.NONE, Cause.SPIN_OFF, Cause.BAD_PRINT, Cause.DATE_SHIFT, Cause.REPEATED, Cause.THIN,
    }  # fmt: skip
    sides = {0: 1, 1: 0, -1: -1}
    assert one.suspect.tolist() == [sides[k] for k in other.suspect.tolist()]


def test_an_instrument_is_judged_alike_in_whatever_company() -> None:
    pairs = [sound(seed=k) for k in range(3)]
    spin_off_one_lowers(pairs[0])
    split_one_lacks(pairs[1])
    one_low_print(pairs[2])
    together = Pair(
        np.repeat(np.arange(3, dtype=np.int32), N),
        np.concatenate([p.session for p in pairs]),
        np.concatenate([p.first for p in pairs], axis=1),
        np.concatenate([p.second for p in pairs], axis=1),
    )
    assert compare(together).cause.tolist() == [k for p in pairs for k in compare(p).cause.tolist()]


@pytest.mark.parametrize("seed", range(8))
def test_whatever_a_vendor_sends_is_compared(seed: int) -> None:
    pair = sound(seed=seed)
    spin_off_one_lowers(pair)
    before = pair.second.copy()
    rng = np.random.default_rng(seed)
    fields, rows = rng.integers(0, 5, 60), rng.integers(0, N, 60)
    pair.second[fields, rows] = rng.choice([np.nan, 0.0, -1.0, np.inf, 1e-300, 1e300], 60)
    pair.second[OPEN, D], pair.second[CLOSE, D - 1] = 0.0, np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compare(pair)
    sense = (pair.second == before).all(0)
    assert set(found.cause[sense & (np.arange(N) >= D)]) == {CAUSES.index(Cause.NONE)}
    assert Cause.NONE not in {CAUSES[k] for k in found.cause[sense & (np.arange(N) < D - 1)]}


def test_few_bars_have_no_level() -> None:
    pair = sound(3)
    pair.second[PRICE_ROWS] *= 1.05
    found = compare(pair)
    assert causes_of(found, slice(None)) == {Cause.UNEXPLAINED}
    assert found.stretch(0) is None
    assert len(compare(sound(0)).cause) == 0


def test_aligning_takes_what_both_have_and_counts_the_rest() -> None:
    def batch(*rows: tuple[str, str, float]) -> BarBatch:
        symbols = tuple(dict.fromkeys(symbol for symbol, _, _ in rows))
        index = np.array([symbols.index(symbol) for symbol, _, _ in rows], np.int32)
        price = np.array([price for _, _, price in rows])
        return BarBatch(symbols, index, np.array([d for _, d, _ in rows], "M8[D]"), price, price, price, price, price)

    symbols, pair = align(
        batch(("B", "2020-01-03", 1), ("A", "2020-01-02", 2), ("B", "2020-01-02", 3), ("C", "2020-01-02", 9)),
        batch(("A", "2020-01-02", 4), ("B", "2020-01-02", 5), ("B", "2020-01-02", 6), ("A", "2020-01-06", 7)),
    )
    assert symbols == ("A", "B")
    assert [(symbols[i], str(d)) for i, d in zip(pair.instrument, pair.session, strict=True)] == [
        ("A", "2020-01-02"),
        ("B", "2020-01-02"),
    ]
    assert (pair.first[CLOSE].tolist(), pair.second[CLOSE].tolist()) == ([2, 3], [4, 6])
    assert (pair.only_first, pair.only_second) == (1, 1)


def test_every_cause_says_what_it_looks_like() -> None:
    assert set(LOOKS_LIKE) == set(Cause)


# --- who is believed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "suspect", "sided", "said", "blamed"),
    [
        (Cause.NONE, -1, None, Verdict.AGREE, ()),
        (Cause.SPIN_OFF, -1, None, Verdict.CONVENTION, ()),
        (Cause.SPLIT_VINTAGE, 0, 1, Verdict.CONVENTION, ()),
        (Cause.ROUNDING, 0, None, Verdict.CONVENTION, ()),
        (Cause.DATE_SHIFT, 1, None, Verdict.STORED, ("second",)),
        (Cause.REPEATED, 0, None, Verdict.SECOND, ("first",)),
        (Cause.REPEATED, 0, 0, Verdict.STORED, ("second",)),  # a third one's word goes first
        (Cause.DATE_SHIFT, -1, None, Verdict.OPEN, ("first", "second")),
        (Cause.BAD_PRINT, 1, None, Verdict.OPEN, ("first", "second")),
        (Cause.BAD_PRINT, 1, 1, Verdict.SECOND, ("first",)),
        (Cause.UNEXPLAINED, -1, None, Verdict.OPEN, ("first", "second")),
    ],
)
def test_who_is_believed_is_written_down(
    cause: Cause, suspect: int, sided: int | None, said: Verdict, blamed: tuple[str, ...]
) -> None:
    assert verdict(cause, suspect, sided) is said
    assert against(said, "first", "second") == blamed


def test_a_third_vendor_sides_with_whom_it_agrees_with_in_all_that_differs() -> None:
    first = np.array([10.0, 11.0, 9.0, 10.5, 1000.0])
    second = np.array([10.0, 11.5, 8.0, 10.5, 1000.0])
    differs = np.array([False, True, True, False, False])
    like_first = first * [1.0, 1.001, 1.0, 1.3, 0.1]  # what the two agree on says nothing
    assert sides_with(first, second, like_first, differs, Limits()) == FIRST
    assert sides_with(first, second, second, differs, Limits()) == SECOND
    assert sides_with(first, second, np.array([10.0, 11.5, 9.0, 10.5, 1000.0]), differs, Limits()) is None
    assert sides_with(first, second, np.full(5, np.nan), differs, Limits()) is None


# --- the real pair ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> tuple[tuple[str, ...], Comparison, Summary]:
    name = "us_daily_2015_2021.parquet"
    files = [shared_data(folder, name) for folder in ("daily", "daily_second_source")]
    symbols, pair = align(*(read_table(path).bars for path in files))
    found = compare(pair, Limits(price=0.01))
    return symbols, found, summarise(symbols, found, 0.01)


def test_nearly_every_real_difference_has_a_cause(real: tuple[tuple[str, ...], Comparison, Summary]) -> None:
    _, _, summary = real
    assert (summary.bars, summary.only_first, summary.only_second) == (1_071_971, 11_790, 677)
    assert summary.price_differs == 34_845
    assert summary.explained is not None
    assert summary.explained >= 0.999
    assert {cause.value: count for cause, count in summary.causes.items()} == {
        "spin_off": 30_989, "split_vintage": 2_106, "dividend_adjustment": 794, "bad_print": 508, "repeated_price": 399,
        "thin_trade": 15, "rounding": 15, "date_shift": 11, "unexplained": 5, "closing_price": 3,
    }  # fmt: skip


def test_every_long_real_difference_is_the_action_that_it_was(
    real: tuple[tuple[str, ...], Comparison, Summary],
) -> None:
    """The answers name beside each the event that it was."""
    _, _, summary = real
    found = [
        {
            "symbol": symbol,
            "first": str(s.first),
            "last": str(s.last),
            "second_by_first": f"{s.price_ratio:.4f}",
            "cause": s.cause.value,
            "ex_date": "" if s.ex_date is None else str(s.ex_date),
        }
        for symbol, s in summary.stretches
    ]
    with ANSWERS.open() as file:
        expected = [{k: v for k, v in row.items() if k != "event"} for row in csv.DictReader(file)]
    assert found == expected


@pytest.mark.parametrize(
    ("symbol", "day", "cause", "ex_date"),
    [
        ("GE", "2018-06-01", Cause.SPIN_OFF, date(2019, 2, 26)),  # Wabtec
        ("GE", "2020-06-01", Cause.SPIN_OFF, None),  # GE HealthCare, 2023
        ("T", "2020-06-01", Cause.SPIN_OFF, None),  # Warner Bros. Discovery, 2022
        ("TRI", "2020-06-01", Cause.SPLIT_VINTAGE, None),  # one share became 0.963957, 2023
        ("ZBH", "2020-06-01", Cause.SPIN_OFF, None),  # ZimVie, 2022
        ("BIIB", "2016-06-01", Cause.SPIN_OFF, date(2017, 2, 2)),  # Bioverativ
        ("HLT", "2016-06-01", Cause.SPIN_OFF, date(2017, 1, 4)),  # Park Hotels, Hilton Grand Vacations
    ],
)
def test_six_that_differ_longest_are_what_they_are(
    real: tuple[tuple[str, ...], Comparison, Summary], symbol: str, day: str, cause: Cause, ex_date: date | None
) -> None:
    symbols, found, _ = real
    (row,) = np.flatnonzero(
        (found.pair.instrument == symbols.index(symbol)) & (found.pair.session == np.datetime64(day))
    )
    stretch = found.stretch(int(row))
    assert stretch is not None
    assert (cause_at(found, int(row)), stretch.ex_date) == (cause, ex_date)

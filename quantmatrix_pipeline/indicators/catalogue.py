"""Every indicator that the engine computes: name, unit, look-back, formula and source, declared once.

The tables' columns, the API's schema and the documentation are made from `CATALOGUE`. C, H, L and V are close, high,
low and volume on the split-adjusted series; an index counts bars back, so C[1] is the close of the bar before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["price", "percent", "ratio", "index", "shares", "money", "count", "flag", "label"]
Kind = Literal["float", "bool", "count", "label"]

WILDER = "J. Welles Wilder, New Concepts in Technical Trading Systems (1978)"
TEXTBOOK = "John J. Murphy, Technical Analysis of the Financial Markets (1999)"
APPEL = "Gerald Appel, The Moving Average Convergence-Divergence Trading Method (1979)"
GRANVILLE = "Joseph E. Granville, New Key to Stock Market Profits (1963)"
SHANNON = "Brian Shannon, Maximum Trading Gains with Anchored VWAP (2022)"
BULKOWSKI = "Thomas N. Bulkowski, Encyclopedia of Chart Patterns (2005)"
EDWARDS = "Robert D. Edwards and John Magee, Technical Analysis of Stock Trends (1948)"
DEMARK = "Thomas R. DeMark, The New Science of Technical Analysis (1994)"
OWN = "this project's definition"
WEINSTEIN = "Stan Weinstein, Secrets for Profiting in Bull and Bear Markets (1988)"

SMA_WINDOWS = (5, 8, 14, 20, 21, 50, 100, 150, 200)
EMA_WINDOWS = (8, 10, 21, 200)
ATR_WINDOWS = (14, 30)
PERF_WINDOWS = (1, 3, 5, 20, 60, 120, 252)
MATRIX_SMA_WINDOWS = (21, 100, 150)  # that of 50 is atr_distance
MATRIX_EMA_WINDOWS = (8, 21, 200)
VOLUME_WINDOWS = (20, 50)
GAP_PERCENT = 0.5  # the least width of a gap
RANGE_WINDOWS = {"20d": 20, "50d": 50, "52w": 252}
EMA200_FIRST_ROW = 659  # below 660 bars the seed still shows: with 270 bars the median error is 1.5 %, the worst 21 %
MA_BUCKET_LABELS = ("UNKNOWN", "LAGGING", "NEUTRAL", "LEADING")
STAGE_LABELS = ("UNKNOWN", "1", "2A", "2B", "2C", "3", "4")
RANKED = {
    "rs_mansfield_pct": "rs",
    "perf_20d": "perf_20d",
    "perf_60d": "perf_60d",
    "perf_252d": "perf_252d",
    "atrp_14": "atrp_14",
}
RS_BENCHMARK_LABELS = ("UNKNOWN", "BENCHMARK", "UNIVERSE")
STAGE_FIRST_ROW = 34  # 35 weeks are needed, and a week has a bar at least


@dataclass(frozen=True)
class Column:
    """One column of the engine's output.

    Attributes
    ----------
    name
        As in the database and the API.
    kind
        `float`; `bool`, held as 0.0 and 1.0; `count`, a whole number; `label`, held as a whole number that indexes
        `labels`. NaN is "not enough history" in each of them.
    level, shares
        Whether it is a price, or a number of shares: both are told in the shares of the row's own session.
    labels
        What the codes of a `label` column mean.
    shared
        Whether it depends on other instruments' bars as well: on a benchmark, or on all of the session.
    """

    name: str
    kind: Kind = "float"
    level: bool = False
    shares: bool = False
    labels: tuple[str, ...] = ()
    shared: bool = False


@dataclass(frozen=True)
class Indicator:
    """One indicator and the columns it fills.

    Attributes
    ----------
    name
        Its own name; columns may carry more specific ones.
    unit
        What its values are measured in.
    lookback
        Bars before the first value: rows 0..lookback-1 of every instrument are NaN (UNKNOWN for a label that has it).
    formula, source
        How it is computed, and where the definition comes from.
    columns
        In output order.
    """

    name: str
    unit: Unit
    lookback: int
    formula: str
    source: str
    columns: tuple[Column, ...]


def _single(
    name: str,
    unit: Unit,
    lookback: int,
    formula: str,
    source: str,
    *,
    kind: Kind = "float",
    labels: tuple[str, ...] = (),
) -> Indicator:
    return Indicator(
        name, unit, lookback, formula, source, (Column(name, kind, unit == "price", unit == "shares", labels),)
    )


def _sma(n: int) -> Indicator:
    return _single(f"sma_{n}", "price", n - 1, f"mean of the last {n} closes", TEXTBOOK)


def _ema(n: int) -> Indicator:
    formula = f"E = E[1] + 2/({n}+1) (C - E[1]), begun with the mean of the first {n} closes"
    if n == 200:
        return _single("ema_200", "price", EMA200_FIRST_ROW, f"{formula}; shown from bar 660 on", TEXTBOOK)
    return _single(f"ema_{n}", "price", n - 1, formula, TEXTBOOK)


def _atr(n: int) -> Indicator:
    formula = f"A = (({n}-1) A[1] + TR)/{n}, begun with the mean TR of bars 1..{n}; TR = max(H, C[1]) - min(L, C[1])"
    return _single(f"atr_{n}", "price", n, formula, WILDER)


def _range_position(name: str, n: int) -> Indicator:
    formula = f"100 (C - lowest L) / (highest H - lowest L) of the last {n} bars; 50 where the range is zero"
    return _single(f"range_pos_{name}", "percent", n - 1, formula, OWN)


def _since_period(name: str, period: str) -> Indicator:
    formula = f"100 (C / B - 1), B = last close before the bar's calendar {period}; NaN where no bar lies before it"
    return _single(f"perf_{name}", "percent", 1, formula, OWN)


def _atr_matrix() -> tuple[Indicator, ...]:
    still = "0 where ATR14 is zero"
    first = {8: 7, 21: 20, 200: EMA200_FIRST_ROW}
    multiple = f"(C / SMA50 - 1) / (ATR14 / C); {still}"
    return (
        *(_single(f"atrx_sma_{n}", "ratio", n - 1, f"(C - SMA{n}) / ATR14; {still}", OWN) for n in MATRIX_SMA_WINDOWS),
        _single("atr_multiple_sma_50", "ratio", 49, multiple, OWN),
        *(_single(f"pct_dist_ema{n}", "percent", first[n], f"100 (C / EMA{n} - 1)", OWN) for n in MATRIX_EMA_WINDOWS),
        *(
            _single(f"atr_dist_ema{n}", "ratio", max(first[n], 14), f"(C - EMA{n}) / ATR14; {still}", OWN)
            for n in MATRIX_EMA_WINDOWS
        ),
    )


def _volume() -> tuple[Indicator, ...]:
    vwap = (
        "sum of V (H + L + C)/3 / sum of V since the bar's calendar year began; C while nothing was traded; NaN "
        "where no bar lies before the year"
    )
    balance = "O = O[1] + V where C > C[1], O[1] - V where C < C[1], else O[1]; begun with the V of the first bar"
    return (
        *(_single(f"volume_avg_{n}d", "shares", n - 1, f"mean of the last {n} V", TEXTBOOK) for n in VOLUME_WINDOWS),
        _single("relative_volume_20d", "ratio", 19, "V / mean of the last 20 V; 0 where that is zero", TEXTBOOK),
        _single("dollar_volume_20d", "money", 19, "mean of the last 20 C V", OWN),
        _single("obv", "shares", 0, balance, GRANVILLE),
        _single("vwap_ytd", "price", 1, vwap, SHANNON),
    )


def _td_sequential() -> tuple[Indicator, ...]:
    def side(name: str, below: str, low: str, high: str) -> tuple[Indicator, ...]:
        setup = f"closes in a row {below} C[4], from the first after one that was not, at most 9"
        countdown = (
            f"closes {below} or at {low}[2] since td_{name}_complete, 1 to 13; the 13th needs {low} {below} or at the "
            f"C of the 8th; 0 before, after the 13th, after the opposite 9, and once a true {low} lies beyond the "
            f"furthest true {high} of the setup's bars; begun anew by the next 9"
        )
        perfect = f"td_{name}_setup is 9, and {low} of bar 8, 9 or a later one was {below} those of bars 6 and 7"
        return (
            _single(f"td_{name}_setup", "count", 5, setup, DEMARK, kind="count"),
            _single(f"td_{name}_complete", "flag", 5, f"bar 9 of td_{name}_setup is this one", DEMARK, kind="bool"),
            _single(f"td_{name}_countdown", "count", 5, countdown, DEMARK, kind="count"),
            _single(f"td_perfect_{name}", "flag", 5, perfect, DEMARK, kind="bool"),
        )

    return (*side("buy", "below", "L", "H"), *side("sell", "above", "H", "L"))


def _gaps() -> tuple[Indicator, ...]:
    up = f"gaps with L at least {GAP_PERCENT} % above H[1] that no later L has closed by reaching that H[1]"
    down = f"gaps with H at least {GAP_PERCENT} % below L[1] that no later H has closed by reaching that L[1]"
    return (
        _single("gaps_unfilled_up", "count", 1, up, BULKOWSKI, kind="count"),
        _single("gaps_unfilled_down", "count", 1, down, BULKOWSKI, kind="count"),
    )


def _trend_lines() -> tuple[Indicator, ...]:
    def lines(low: str, lowest: str, lower: str, below: str) -> str:
        return (
            f"lines that hold, from each of the newest 3 pivots to the newest earlier {lower} one among the last 10; a "
            f"pivot is the {lowest} {low} of 20 bars on each side, the last of equal ones, known 20 bars later; a line "
            f"holds while no {low} since its newer pivot lies {below} it by more than 0.1 of its own bar's ATR14"
        )

    up, down = lines("L", "lowest", "lower", "below"), lines("H", "highest", "higher", "above")
    return (
        _single("trend_up_count", "count", 40, up, EDWARDS, kind="count"),
        _single("trend_down_count", "count", 40, down, EDWARDS, kind="count"),
    )


def _weekly_stage() -> tuple[Indicator, ...]:
    needed = "from the 35th calendar week in which the instrument traded on"
    rules: tuple[tuple[str, Unit, str], ...] = (
        ("stage_rules_version", "index", "version of the rules by which stage_label was told"),
        ("stage_flat_pct", "percent", "threshold of stage_label: up to this change in a week the average is flat"),
        ("stage_near_pct", "percent", "threshold of stage_label: up to this distance the price is near the average"),
        ("stage_far_pct", "percent", "threshold of stage_label: 2B up to this distance above the average, then 2C"),
    )
    label = (
        "with M = sma_30w: change of M over one completed week above stage_flat_pct and C > M: 2A to stage_near_pct "
        "above M, 2B to stage_far_pct, 2C beyond; below -stage_flat_pct and C < M: 4; else 3 after 2, 1 after 4 (the "
        f"last completed week that was either); before any 1 within stage_near_pct of M, else 3; {needed}"
    )

    def stage(name: str, formula: str) -> Indicator:
        return _single(name, "label", STAGE_FIRST_ROW, formula, WEINSTEIN, kind="label", labels=STAGE_LABELS)

    average = f"M = mean of the last 30 weekly closes, the last of them C, that of the week to date; {needed}"
    slope = f"100 (M / W - 1), M = sma_30w, W = M at the end of the 5th completed week before; {needed}"
    return (
        _single("sma_30w", "price", STAGE_FIRST_ROW, average, WEINSTEIN),
        _single("stage_slope_pct", "percent", STAGE_FIRST_ROW, slope, WEINSTEIN),
        _single("stage_dist_pct", "percent", STAGE_FIRST_ROW, f"100 (C / sma_30w - 1); {needed}", WEINSTEIN),
        stage("stage_label", label),
        stage("stage_label_5d_ago", "stage_label of the row 5 bars before"),
        *(_single(name, unit, 0, formula, OWN) for name, unit, formula in rules),
    )


def _relative_strength() -> Indicator:
    return Indicator(
        "relative_strength",
        "percent",
        51,  # 52 weeks are needed
        "Mansfield: 100 (R / mean of the last 52 weekly R, the week to date included - 1), R = C / the benchmark's "
        "close; rs_benchmark says whether that is QM_BENCHMARK (BENCHMARK) or, where no bars of it are on the "
        "instruments' basis, the equal-weight mean of the universe (UNIVERSE); from 52 weeks of both on",
        WEINSTEIN,
        (
            Column("rs_mansfield_pct", shared=True),
            Column("rs_benchmark", "label", labels=RS_BENCHMARK_LABELS, shared=True),
        ),
    )


def rank_name(ranked: str, *, sector: bool = False) -> str:
    """Return the name of the column that ranks a column of `RANKED`, in the universe or in its sector."""
    return f"{RANKED[ranked]}_{'sector_' if sector else ''}rank"


ENGINE_CATALOGUE: tuple[Indicator, ...] = (
    _single(
        "rsi", "index", 14, "100 G/(G + D): Wilder averages over 14 of gains and losses; 0 where both are zero", WILDER
    ),
    *(_sma(n) for n in SMA_WINDOWS),
    *(_ema(n) for n in EMA_WINDOWS),
    *(_atr(n) for n in ATR_WINDOWS),
    *(_single(f"atrp_{n}", "percent", n, f"100 ATR{n} / C", WILDER) for n in ATR_WINDOWS),
    _single("atr_distance", "ratio", 49, "(C - SMA50) / ATR14; 0 where ATR14 is zero", OWN),
    _single("adx", "index", 27, "Wilder average over 14 of DX = 100 |+DI - -DI| / (+DI + -DI)", WILDER),
    Indicator(
        "directional_indicators",
        "index",
        14,
        "100 S(+DM) / S(TR) and 100 S(-DM) / S(TR), S = S[1] - S[1]/14 + X, begun with the sum of bars 1..13",
        WILDER,
        (Column("plus_di"), Column("minus_di")),
    ),
    Indicator(
        "macd",
        "price",
        33,
        "EMA12 - EMA26, both begun at bar 25; its EMA9, begun with bars 25..33; their difference",
        APPEL,
        (Column("macd", level=True), Column("macd_signal", level=True), Column("macd_histogram", level=True)),
    ),
    *(_single(f"perf_{n}d", "percent", n, f"100 (C / C[{n}] - 1)", TEXTBOOK) for n in PERF_WINDOWS),
    _since_period("mtd", "month"),
    _since_period("qtd", "quarter"),
    _since_period("ytd", "year"),
    *(_range_position(name, n) for name, n in RANGE_WINDOWS.items()),
    _single("ma_aligned", "flag", 199, "EMA21 >= SMA21 >= SMA50 >= SMA100 >= SMA200", OWN, kind="bool"),
    _single(
        "ma_bucket",
        "label",
        199,
        "LEADING where C > SMA5 > SMA8 > SMA21 > SMA50 > SMA100 > SMA200, LAGGING where all reversed, else NEUTRAL; "
        "UNKNOWN where one is missing",
        OWN,
        kind="label",
        labels=MA_BUCKET_LABELS,
    ),
    *_atr_matrix(),
    *_volume(),
    *_td_sequential(),
    *_gaps(),
    *_trend_lines(),
    *_weekly_stage(),
    _relative_strength(),
)


def _ranks(ranked: str, *, sector: bool) -> Indicator:
    lookback = next(i.lookback for i in ENGINE_CATALOGUE if any(c.name == ranked for c in i.columns))
    among = (
        "of its sector, itself among them; empty without a sector" if sector else "of the session, itself among them"
    )
    formula = f"100 (B + (E + 1) / 2) / N over the N instruments that have {ranked} {among}: B have less, E the same"
    name = rank_name(ranked, sector=sector)
    return Indicator(name, "percent", lookback, formula, OWN, (Column(name, shared=True),))


SESSION_CATALOGUE: tuple[Indicator, ...] = tuple(
    _ranks(name, sector=sector) for sector in (False, True) for name in RANKED
)
"""What is computed after the engine, from all rows of a session."""

CATALOGUE = ENGINE_CATALOGUE + SESSION_CATALOGUE


def _columns(catalogue: tuple[Indicator, ...]) -> tuple[Column, ...]:
    return tuple(column for indicator in catalogue for column in indicator.columns)


ENGINE_COLUMNS = _columns(ENGINE_CATALOGUE)
COLUMNS = ENGINE_COLUMNS + _columns(SESSION_CATALOGUE)
COLUMN_INDEX: dict[str, int] = {column.name: index for index, column in enumerate(ENGINE_COLUMNS)}
LOOKBACK: tuple[int, ...] = tuple(indicator.lookback for indicator in ENGINE_CATALOGUE for _ in indicator.columns)

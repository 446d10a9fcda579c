"""What befalls an instrument, each with the rows that follow from it worked out by hand: a split, a listing, a halt."""

from __future__ import annotations

import numpy as np
import pytest

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.indicators.catalogue import COLUMN_INDEX
from quantmatrix_pipeline.indicators.engine import compute, last_rows
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline_tests.unit.indicators.panels import same_bits

ALWAYS = {  # what every row has, however few bars there are
    "ma_bucket": 0.0,
    "stage_label": 0.0,
    "stage_label_5d_ago": 0.0,
    "rs_benchmark": 0.0,
    "stage_rules_version": 1.0,
    "stage_flat_pct": 0.05,
    "stage_near_pct": 5.0,
    "stage_far_pct": 15.0,
}
Bar = tuple[str, float, float, float, float]  # session, high, low, close, volume


def listed(bars: list[Bar], unit: list[float] | None = None) -> Panel:
    days, high, low, close, volume = (np.array(field) for field in zip(*bars, strict=True))
    prices = {"open": close, "high": high, "low": low, "close": close}
    shares = None if unit is None else np.array(unit)
    return Panel.from_rows(
        np.zeros(len(bars), np.int32), days.astype("datetime64[D]"), **prices, volume=volume, unit=shares
    )


def rows(panel: Panel) -> list[dict[str, float]]:
    """What each row has a value for."""
    values = compute(panel)[:, :, 0]
    return [
        {name: value for name, value in zip(COLUMN_INDEX, row.tolist(), strict=True) if not np.isnan(value)}
        for row in values
    ]


def test_a_listing_of_three_bars_has_what_three_bars_tell_and_nothing_else() -> None:
    panel = listed(
        [
            ("2021-03-29", 10.5, 9.5, 10.0, 100.0),
            ("2021-03-30", 12.5, 11.0, 12.0, 300.0),  # 11 is 4.8 % above 10.5: a gap
            ("2021-04-01", 12.0, 9.0, 9.0, 50.0),  # down through the gap; a new month and quarter, from 12
        ]
    )
    no_gap = {"gaps_unfilled_up": 0.0, "gaps_unfilled_down": 0.0}
    since_march = {"perf_1d": -25.0, "perf_mtd": -25.0, "perf_qtd": -25.0}
    expected = [
        {"obv": 100.0},
        {"obv": 400.0, "perf_1d": 20.0, "gaps_unfilled_up": 1.0, "gaps_unfilled_down": 0.0},
        {"obv": 350.0, **since_march, **no_gap},
    ]
    for found, wanted in zip(rows(panel), expected, strict=True):
        assert found == pytest.approx({**ALWAYS, **wanted}, rel=1e-12)


SPLIT = [  # told in the first share; two new shares for an old one on the fourth session
    ("2020-12-30", 10.0, 10.0, 10.0, 100.0),
    ("2020-12-31", 11.0, 11.0, 11.0, 100.0),
    ("2021-01-04", 12.0, 12.0, 12.0, 100.0),
    ("2021-01-05", 13.0, 13.0, 13.0, 100.0),  # traded at 6.50, 200 shares
    ("2021-01-06", 14.0, 14.0, 14.0, 100.0),  # at 7
    ("2021-01-07", 12.0, 12.0, 12.0, 100.0),  # at 6
]


def test_a_split_is_no_fall_no_gap_and_no_volume_and_prices_are_in_the_sessions_own_shares() -> None:
    found = rows(listed(SPLIT, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]))
    expected = {
        "perf_1d": [10.0, 100 / 11, 100 / 12, 100 / 13, -200 / 14],
        "perf_ytd": [100 / 11, 200 / 11, 300 / 11, 100 / 11],
        "perf_3d": [30.0, 300 / 11, 0.0],
        "sma_5": [12.0 / 2, 12.4 / 2],
        "vwap_ytd": [12.0, 12.5 / 2, 13.0 / 2, 12.75 / 2],
        "obv": [100.0, 200.0, 300.0, 800.0, 1000.0, 800.0],
        "gaps_unfilled_up": [1.0, 2.0, 3.0, 4.0, 2.0],  # the fall to 12 closes those from 12 and from 13
        "gaps_unfilled_down": [0.0, 0.0, 0.0, 0.0, 1.0],
    }
    for name, wanted in expected.items():
        assert [row[name] for row in found if name in row] == pytest.approx(wanted, rel=1e-12, abs=1e-12), name


def test_a_split_that_nobody_knew_of_is_a_fall_and_once_it_is_known_it_never_was_one() -> None:
    unknown = [
        (day, h / 2, lo / 2, c / 2, 2 * v) if k > 2 else (day, h, lo, c, v)
        for k, (day, h, lo, c, v) in enumerate(SPLIT)
    ]
    wrong, mended = rows(listed(unknown)), rows(listed(SPLIT, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]))
    assert [row.get("perf_1d") for row in wrong] == pytest.approx(
        [None, 10.0, 100 / 11, 100 * (6.5 / 12 - 1), 100 / 13, -200 / 14]
    )
    assert [row["gaps_unfilled_down"] for row in wrong[1:]] == [0.0, 0.0, 1.0, 1.0, 2.0]
    assert wrong[4]["sma_5"] == pytest.approx((10 + 11 + 12 + 6.5 + 7) / 5)
    assert mended[4]["sma_5"] == pytest.approx((5 + 5.5 + 6 + 6.5 + 7) / 5)
    assert wrong[:3] == mended[:3], "sessions before it are what they were"


def halted(sessions: int) -> Panel:
    """Nineteen bars of range 1 around 10 until 2020-08-31; none for so many sessions; then one that closes at 12."""
    calendar = trading_calendar("XNYS")
    days = [str(day) for day in calendar.window(np.datetime64("2020-11-25").item(), 80).tolist()]
    assert days[18] == "2020-08-31"
    still = [(day, 10.5, 9.5, 10.0, 100.0) for day in days[:19]]
    return listed([*still, (days[19 + sessions], 12.5, 11.5, 12.0, 500.0)])


def test_after_a_halt_of_sixty_sessions_the_bar_before_is_the_bar_before_it() -> None:
    panel = halted(60)
    assert panel.bars == 20, "no bar stands for a session without one"
    assert str(panel.session[-1, 0]) == "2020-11-25"
    last = rows(panel)[-1]
    expected = {
        "perf_1d": 20.0,
        "perf_5d": 20.0,
        "perf_mtd": 20.0,  # from the last close before November, that of August
        "perf_qtd": 20.0,
        "sma_5": (4 * 10 + 12) / 5,
        "sma_20": (19 * 10 + 12) / 20,
        "ema_8": 10 + 2 / 9 * 2,
        "atr_14": (13 * 1 + 2.5) / 14,  # the true range reaches from the close before the halt, 10, to 12.5
        "rsi": 100.0,
        "range_pos_20d": 100 * (12 - 9.5) / 3,
        "volume_avg_20d": 120.0,
        "relative_volume_20d": 500 / 120,
        "dollar_volume_20d": (19 * 1000 + 6000) / 20,
        "obv": 600.0,
        "gaps_unfilled_up": 1.0,
        "td_sell_setup": 1.0,
        "td_buy_setup": 0.0,
    }
    assert {name: last[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    assert "perf_20d" not in last
    assert "perf_ytd" not in last, "no bar lies before the year"


def test_how_long_the_halt_was_is_told_by_the_calendar_alone() -> None:
    """Columns that count bars have the bits that they have without a halt; months and quarters go on meanwhile."""
    calendar_columns = {"perf_mtd", "perf_qtd", "perf_ytd", "vwap_ytd"}
    counted = [place for name, place in COLUMN_INDEX.items() if name not in calendar_columns]
    assert same_bits(last_rows(halted(60))[counted], last_rows(halted(0))[counted])

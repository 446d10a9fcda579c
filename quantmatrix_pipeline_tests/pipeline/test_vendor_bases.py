"""Vendors that answer raw, split-adjusted and fully adjusted prices leave the same bars and the same indicators."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantmatrix_pipeline.bars.adjustment import SplitTable
from quantmatrix_pipeline.bars.dividends import CashDividends, Convention, DividendTable
from quantmatrix_pipeline.warehouse import instruments, universe
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.conftest import TEMPLATE, _database
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, walk
from quantmatrix_pipeline_tests.pipeline.test_vendors_night import DAYS
from quantmatrix_pipeline_tests.vendor_server import Market, SplitOf, vendors

SPLIT_DAY, PAID_DAYS, AMOUNT = DAYS[20], (DAYS[10], DAYS[30]), 0.35
PRICES = ["open", "high", "low", "close"]
SYMBOL = "SPL"
DEPTH = len(DAYS)
ROWS = (
    "SELECT symbol, session, open, high, low, close, volume, quality_score, validated, gap_detected, basis, basis_date"
    " FROM bars ORDER BY symbol, session"
)


def raw_bars() -> pd.DataFrame:
    bars = walk([SYMBOL, "SPY"], DAYS).astype({"volume": float})
    after = (bars["symbol"] == SYMBOL) & (bars["date"] >= SPLIT_DAY)
    bars.loc[after, PRICES] = (bars.loc[after, PRICES] / 4).round(2)
    bars.loc[after, "volume"] *= 4
    bars["low"] = bars[PRICES].min(axis=1)
    bars["high"] = bars[PRICES].max(axis=1)
    return bars


def fully_adjusted(bars: pd.DataFrame, convention: Convention) -> pd.DataFrame:
    """Return what a vendor shows who adjusts for both, as of the last day."""
    own = bars["symbol"] == SYMBOL
    session, index = np.array(DAYS, "datetime64[D]"), np.zeros(DEPTH, np.int32)
    steps = SplitTable.build([0], np.array([SPLIT_DAY], "datetime64[D]"), [Fraction(4)])
    cash = CashDividends(np.zeros(2, np.int32), np.array(PAID_DAYS, "datetime64[D]"), np.full(2, AMOUNT))
    unit = steps.unit(index, session)
    close = bars.loc[own, "close"].to_numpy()
    growth, _ = DividendTable.build(cash, index, session, close * unit, steps, convention)
    value = unit * growth.unit(index, session)
    adjusted = bars.copy()
    adjusted.loc[own, PRICES] = bars.loc[own, PRICES].to_numpy() * (value / value[-1])[:, None]
    adjusted.loc[own, "volume"] = bars.loc[own, "volume"].to_numpy() * unit[-1] / unit
    return adjusted


def found(database_url: str) -> tuple[list[Any], pd.DataFrame]:
    """Return the stored bars, and the newest row of indicators of each symbol."""
    warehouse = Warehouse(database_url)
    bars = [tuple(row) for row in warehouse.rows(ROWS)]
    rows = warehouse.rows(
        "SELECT s.symbol, h.* FROM market_analysis_history h JOIN instrument_symbols s USING (instrument_id)"
        " ORDER BY s.symbol, h.session"
    )
    warehouse.close()
    table = pd.DataFrame([dict(row._mapping) for row in rows])
    return bars, table.drop(columns=["as_of", "instrument_id"])


@pytest.fixture
def expected(
    chain: Chain, folder: Folder, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[list[Any], pd.DataFrame]]:
    """What a folder of raw prices and splits leaves."""
    monkeypatch.setenv("QM_HISTORY_SESSIONS", str(DEPTH))
    folder.write(raw_bars(), splits=f"symbol,ex_date,ratio\n{SYMBOL},{SPLIT_DAY},4\n")
    for url in _database(server, TEMPLATE):
        with monkeypatch.context() as patch:
            patch.setenv("QM_DATABASE_URL", url)
            assert chain.run(DAYS[-1]).success
        yield found(url)


@pytest.mark.parametrize("vendor", ["twelve_data", "fmp", "yfinance"])
def test_vendors_of_raw_and_of_split_adjusted_prices_leave_the_same(
    chain: Chain,
    expected: tuple[list[Any], pd.DataFrame],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    vendor: str,
) -> None:
    market = Market(raw_bars(), splits=[SplitOf(SYMBOL, SPLIT_DAY, 4, 1)], members=[])
    with vendors(market) as running:
        running.enter(monkeypatch, "twelve_data", "fmp")
        for name, value in {
            "QM_DATABASE_URL": database_url,
            "QM_DATA_DIR": str(tmp_path / "vendors"),
            "QM_SOURCE": "vendors",
            "QM_HISTORY_SESSIONS": str(DEPTH),
            "QM_BENCHMARK": "SPY",
            "QM_TWELVE_DATA_BUDGET": "none",
            "POLICY_EOD": vendor,
            "POLICY_EOD_BULK": vendor,
        }.items():
            monkeypatch.setenv(name, value)
        _watch(database_url)
        done = chain.run(DAYS[-1])
    assert done.success, done.errors
    _assert_same(found(database_url), expected)


@pytest.mark.parametrize("convention", list(Convention))
def test_a_folder_of_fully_adjusted_prices_and_their_actions_leaves_the_same(
    chain: Chain, folder: Folder, expected: tuple[list[Any], pd.DataFrame], database_url: str, convention: Convention
) -> None:
    splits = f"symbol,ex_date,ratio\n{SYMBOL},{SPLIT_DAY},4\n"
    last = str(DAYS[-1])
    folder.write(fully_adjusted(raw_bars(), convention), basis="split_dividend", basis_date=last, splits=splits)
    paid = "".join(f"{SYMBOL},{day},{AMOUNT}\n" for day in PAID_DAYS)
    (folder.path / "dividends.csv").write_text(f"symbol,ex_date,amount\n{paid}")
    declared = (folder.path / "source.toml").read_text()
    declared = declared.replace("[actions]", f'convention = "{convention}"\n[actions]\ndividends = "dividends.csv"')
    (folder.path / "source.toml").write_text(declared)
    done = chain.run(DAYS[-1])
    assert done.success, done.errors
    _assert_same(found(database_url), expected)


def _watch(database_url: str) -> None:
    warehouse = Warehouse(database_url)
    universe.watch(warehouse, list(instruments.ensure(warehouse, [SYMBOL]).values()), datetime.now(UTC))
    warehouse.close()


def _assert_same(got: tuple[list[Any], pd.DataFrame], expected: tuple[list[Any], pd.DataFrame]) -> None:
    assert got[0] == expected[0], "the stored rows, to the bit"
    assert len(got[0]) == 2 * DEPTH
    pd.testing.assert_frame_equal(got[1], expected[1], check_exact=True)

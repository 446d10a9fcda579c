"""A new name, a halt and a listing through the whole chain: the rows recorded, and the snapshot among them."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from quantmatrix_pipeline.snapshots.rows import COLUMN_NAMES
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, sessions, walk

DAYS = sessions("2021-12-31", 120)
RENAMED = DAYS[-5]
HALT = slice(30, 90)  # sixty sessions
NAMES = ", ".join(COLUMN_NAMES)


def recorded(warehouse: Warehouse, symbol: str, table: str = "market_analysis_history") -> pd.DataFrame:
    """Rows of the instrument that bears a symbol now, by session."""
    return warehouse.arrow_table(
        f"SELECT t.session, t.close, {NAMES} FROM {table} t JOIN instrument_symbols s USING (instrument_id)"
        f" WHERE s.symbol = '{symbol}' AND s.valid_to IS NULL ORDER BY t.session"
    ).to_pandas()


@pytest.fixture(autouse=True)
def deep(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_HISTORY_SESSIONS", str(len(DAYS)))


def bars_as(bars: pd.DataFrame, symbol: str) -> pd.DataFrame:
    return bars.assign(symbol=symbol)


def test_under_a_new_name_the_instrument_goes_on_where_it_was(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    """OLD becomes NEW and trades on; TWIN walks the same way under one name."""
    twin = walk(["TWIN"], DAYS)
    others = pd.concat([twin, walk(["SPY"], DAYS, seed=1)])
    before = twin["date"] < RENAMED
    folder.write(pd.concat([others[others["date"] < RENAMED], bars_as(twin[before], "OLD")]))
    assert chain.run(DAYS[-6]).success
    warehouse.execute(
        f"UPDATE instrument_symbols SET valid_to = '{RENAMED}' WHERE symbol = 'OLD';"
        " INSERT INTO instrument_symbols (symbol, valid_from, instrument_id)"
        f" SELECT 'NEW', '{RENAMED}', instrument_id FROM instrument_symbols WHERE symbol = 'OLD'"
    )
    folder.write(pd.concat([others, bars_as(twin[~before], "NEW")]))
    done = chain.run(RENAMED, DAYS[-1])
    assert done.success, done.errors
    assert warehouse.scalar("SELECT count(*) FROM instruments") == 3, "a name is no instrument"
    renamed, same = recorded(warehouse, "NEW"), recorded(warehouse, "TWIN")
    assert renamed["session"].tolist() == [DAYS[-6], *DAYS[-5:]]
    pd.testing.assert_frame_equal(renamed, same, check_exact=True)
    assert renamed["sma_100"].notna().all(), "the bars under the old name count"


def test_a_halt_of_sixty_sessions_and_a_listing_of_three_bars_have_rows_where_they_traded(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    halt = walk(["HALT"], DAYS)
    halt = halt[~halt["date"].isin(DAYS[HALT])]
    new = walk(["NEW"], DAYS[-3:], seed=2)
    folder.write(pd.concat([halt, new, walk(["SPY"], DAYS, seed=1)]))
    done = chain.run(DAYS[0], DAYS[-1])
    assert done.success, done.errors

    rows = recorded(warehouse, "HALT")
    assert rows["session"].tolist() == [*DAYS[:30], *DAYS[90:]], "no row for a session without a bar"
    close = halt["close"].to_numpy()
    resumed = rows.iloc[30]
    assert resumed["close"] == close[30]
    assert resumed["perf_1d"] == pytest.approx(100 * (close[30] / close[29] - 1))
    assert resumed["sma_20"] == pytest.approx(close[11:31].mean())
    earlier = [bar for bar, day in enumerate(rows["session"]) if day < month_of(DAYS[90])]
    assert resumed["perf_mtd"] == pytest.approx(100 * (close[30] / close[earlier[-1]] - 1))

    listed = recorded(warehouse, "NEW")
    first, second, third = new["close"]
    assert listed["session"].tolist() == DAYS[-3:]
    np.testing.assert_allclose(
        listed["perf_1d"], [np.nan, 100 * (second / first - 1), 100 * (third / second - 1)], rtol=1e-9
    )
    assert listed[["sma_5", "rsi", "atr_14", "perf_3d", "td_buy_setup"]].isna().all().all()

    for symbol in ("HALT", "NEW", "SPY"):
        snapshot = recorded(warehouse, symbol, "market_analysis_cache")
        last = recorded(warehouse, symbol).tail(1).reset_index(drop=True)
        assert len(snapshot) == 1
        pd.testing.assert_frame_equal(snapshot, last, check_exact=True, check_dtype=False)


def month_of(day: date) -> date:
    return day.replace(day=1)

"""A night of the whole chain in which a second vendor is asked about some bars, over HTTP as in earnest."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from quantmatrix_pipeline.providers.routing.state import WarehouseStore
from quantmatrix_pipeline.warehouse import reconciliation
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, walk
from quantmatrix_pipeline_tests.pipeline.test_vendors_night import DAYS, DOW, NIGHT
from quantmatrix_pipeline_tests.vendor_server import Market, vendors

SYMBOLS = [*DOW, "SPY"]
ODD = DOW[3]
DEPTH = 20


class Disputed(Market):
    """Yahoo has another low of one stock on the night."""

    def of(self, vendor: str, symbol: str) -> pd.DataFrame:
        bars = super().of(vendor, symbol)
        if (vendor, symbol) == ("yfinance", ODD):
            bars = bars.astype({"low": float})
            bars.loc[bars["date"] == NIGHT, "low"] *= 0.9
        return bars


def test_a_night_compares_bars_with_a_second_vendors_and_says_what_it_found(
    chain: Chain, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, database_url: str
) -> None:
    with vendors(Disputed(walk(SYMBOLS, DAYS), members=DOW)) as running:
        running.enter(monkeypatch, "twelve_data")
        for name, value in {
            "QM_DATABASE_URL": database_url,
            "QM_DATA_DIR": str(tmp_path / "data"),
            "QM_SOURCE": "vendors",
            "POLICY_EOD": "twelve_data,yfinance",
            "QM_HISTORY_SESSIONS": str(DEPTH),
            "QM_RECHECK_SESSIONS": "0",
            "QM_BENCHMARK": "SPY",
            "QM_TWELVE_DATA_BUDGET": "none",
            "QM_RECONCILE_SAMPLE": "40",
            "QM_RECONCILE_FLAGGED": "10",
        }.items():
            monkeypatch.setenv(name, value)
        done = chain.run(NIGHT)
        assert done.success, done.errors
        facts = done.facts["reconciliation"]
        assert (facts["sampled"], facts["compared"], facts["contradicted"]) == (31, 31, 1)
        assert done.rows("reconciliation", "causes") == [{"cause": "bad_print", "bars": 1}]
        (found,) = reconciliation.find(warehouse)
        assert (found.symbol, found.field) == (ODD, "low")
        assert (found.vendor, found.second_vendor) == ("twelve_data", "yfinance")
        assert found.second == pytest.approx(found.stored * 0.9)
        check = done.checks["vendors_confirm_each_other"]
        assert check.passed  # one of 31 is not more than 5 %
        assert check.severity.value == "WARN"
        assert check.metadata["to_decide"].value == 1
        health = WarehouseStore(warehouse).read_health()
        assert {name: health[name].compared for name in ("twelve_data", "yfinance")} == {
            "twelve_data": ((NIGHT, 30, 31),),
            "yfinance": ((NIGHT, 30, 31),),
        }
        assert len(running.calls("yfinance", "/v8/")) == 31

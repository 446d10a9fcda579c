"""The real Twelve Data, for who has a key: `TWELVE_DATA_API_KEY=... pytest -m live`. Four of a minute's 8 credits."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pydantic import SecretStr

from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline.errors import SymbolNotFound
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import twelve_data
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording

KEY = os.environ.get("TWELVE_DATA_API_KEY", "")
BASE_URL = os.environ.get("QM_TWELVE_DATA_BASE_URL", "https://api.twelvedata.com")


@pytest.mark.live
@pytest.mark.skipif(not KEY, reason="TWELVE_DATA_API_KEY is not set")
def test_the_real_vendor_answers_in_plausible_bars() -> None:
    today = np.datetime64(datetime.now(UTC).date() - timedelta(days=2), "D")
    days = np.busday_offset(today, np.arange(-10, 0), roll="backward")

    async def run() -> None:
        vendor = twelve_data.connect(Access(BASE_URL, SecretStr(KEY), Recording()))
        await vendor.open()
        try:
            daily = await vendor.daily_bars([BarRequest(s, days) for s in ("AAPL", "BRK.B", "NOSUCHSYM")])
            (quote,) = await vendor.quotes(["AAPL"])
        finally:
            await vendor.close()
        assert (daily.basis, daily.basis_date) == (Basis.RAW, None)
        assert {s: type(e) for s, e in daily.failures.items()} == {"NOSUCHSYM": SymbolNotFound}
        assert daily.bars.symbols == ("AAPL", "BRK.B")
        assert 14 <= len(daily.bars) <= 20
        assert np.all((daily.bars.low <= daily.bars.close) & (daily.bars.close <= daily.bars.high))
        last = daily.bars.close[daily.bars.symbol_index == 0][-1]
        assert 0.5 < quote.price / last < 2

    asyncio.run(run())

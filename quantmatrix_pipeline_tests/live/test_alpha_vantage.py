"""The real Alpha Vantage, for who has a key: `ALPHA_VANTAGE_API_KEY=... pytest -m live`. Three of a day's 25 calls."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from pydantic import SecretStr

from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import alpha_vantage
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording

KEY = os.environ.get("ALPHA_VANTAGE_API_KEY", "")
BASE_URL = os.environ.get("QM_ALPHA_VANTAGE_BASE_URL", "https://www.alphavantage.co")
BETWEEN_CALLS = 1.5  # seconds; the free plan has one call a second


@pytest.mark.live
@pytest.mark.skipif(not KEY, reason="ALPHA_VANTAGE_API_KEY is not set")
def test_the_real_vendor_answers_in_plausible_bars() -> None:
    today = np.datetime64(datetime.now(UTC).date() - timedelta(days=2), "D")
    days = np.busday_offset(today, np.arange(-10, 0), roll="backward")

    async def run() -> None:
        vendor = alpha_vantage.connect(Access(BASE_URL, SecretStr(KEY), Recording()))
        await vendor.open()
        try:
            daily = await vendor.daily_bars([BarRequest("BRK.B", days)])
            await asyncio.sleep(BETWEEN_CALLS)
            (quote,) = await vendor.quotes(["BRK.B"])
            await asyncio.sleep(BETWEEN_CALLS)
            actions = await vendor.splits("AAPL", date(2020, 1, 1), date(2020, 12, 31))
        finally:
            await vendor.close()
        assert (daily.basis, daily.basis_date) == (Basis.RAW, None)
        assert 7 <= len(daily.bars) <= 10
        assert np.all((daily.bars.low <= daily.bars.close) & (daily.bars.close <= daily.bars.high))
        assert 0.5 < quote.price / daily.bars.close[-1] < 2
        assert [float(s.ratio) for s in actions.splits] == [4.0]

    asyncio.run(run())

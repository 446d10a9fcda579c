"""The real Financial Modeling Prep, for who has a key: `FMP_API_KEY=... pytest -m live`. Four calls of 250 a day."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pydantic import SecretStr

from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import fmp
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording

KEY = os.environ.get("FMP_API_KEY", "")
BASE_URL = os.environ.get("QM_FMP_BASE_URL", "https://financialmodelingprep.com/stable")


@pytest.mark.live
@pytest.mark.skipif(not KEY, reason="FMP_API_KEY is not set")
def test_the_real_vendor_answers_in_plausible_bars() -> None:
    today = np.datetime64(datetime.now(UTC).date() - timedelta(days=2), "D")
    days = np.busday_offset(today, np.arange(-10, 0), roll="backward")

    async def run() -> None:
        vendor = fmp.connect(Access(BASE_URL, SecretStr(KEY), Recording()))
        await vendor.open()
        try:
            daily = await vendor.daily_bars([BarRequest("AAPL", days)])
            (quote,) = await vendor.quotes(["AAPL"])
            profile = await vendor.profile("AAPL")
        finally:
            await vendor.close()
        assert 7 <= len(daily.bars) <= 10
        assert np.all((daily.bars.low <= daily.bars.close) & (daily.bars.close <= daily.bars.high))
        assert 0.5 < quote.price / daily.bars.close[-1] < 2
        assert profile.sector == "Technology"
        assert profile.market_cap is not None
        assert profile.market_cap > 1e11

    asyncio.run(run())

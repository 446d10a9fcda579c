"""The real Yahoo through the installed yfinance: `QM_LIVE_YAHOO=1 pytest -m live`. Six calls, and some for cookies."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from quantmatrix_pipeline.providers.contract import BarRequest, IntradayRequest
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import yahoo
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording

BASE_URL = os.environ.get("QM_YAHOO_BASE_URL", "")


@pytest.mark.live
@pytest.mark.skipif(not os.environ.get("QM_LIVE_YAHOO"), reason="QM_LIVE_YAHOO is not set (Yahoo has no key)")
def test_the_real_vendor_answers_in_plausible_bars() -> None:
    now = datetime.now(UTC)
    day = np.datetime64((now - timedelta(days=2)).date(), "D")
    days = np.busday_offset(day, np.arange(-10, 0), roll="backward")

    async def run() -> None:
        vendor = yahoo.connect(Access(BASE_URL, None, Recording()))
        await vendor.open()
        try:
            daily = await vendor.daily_bars([BarRequest("AAPL", days)])
            coins = await vendor.daily_bars([BarRequest("BTC-USD", np.arange(day - 10, day))])
            minutes = await vendor.intraday_bars(IntradayRequest("AAPL", "5m", now - timedelta(days=7), now))
            apple, berkshire = await vendor.quotes(["AAPL", "BRK.B"])
            profile = await vendor.profile("AAPL")
            chain = await vendor.options_chain("AAPL")
        finally:
            await vendor.close()
        assert 7 <= len(daily.bars) <= 10
        assert np.all((daily.bars.low <= daily.bars.close) & (daily.bars.close <= daily.bars.high))
        assert len(coins.bars) == 10
        assert 2 * 42 <= len(minutes) <= 5 * 78
        assert np.all(minutes.opened_at.astype(np.int64) % 300 == 0)
        assert 0.5 < apple.price / daily.bars.close[-1] < 2
        assert (apple.symbol, berkshire.symbol) == ("AAPL", "BRK.B")
        assert profile.sector == "Technology"
        assert profile.market_cap is not None
        assert profile.market_cap > 1e11
        assert len(chain.contracts) > 20

    asyncio.run(run())

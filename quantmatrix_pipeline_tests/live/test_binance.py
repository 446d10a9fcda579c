"""The real Binance, which wants no key: `QM_LIVE=1 pytest -m live`. Three calls."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from quantmatrix_pipeline.providers.contract import BarRequest, IntradayRequest
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import binance
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording

BASE_URL = os.environ.get("QM_BINANCE_BASE_URL", "https://data-api.binance.vision")


@pytest.mark.live
@pytest.mark.skipif(os.environ.get("QM_LIVE") != "1", reason="QM_LIVE=1 is not set")
def test_the_real_vendor_answers_in_plausible_bars() -> None:
    today = np.datetime64(datetime.now(UTC).date(), "D")
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)

    async def run() -> None:
        vendor = binance.connect(Access(BASE_URL, None, Recording()))
        await vendor.open()
        try:
            daily = await vendor.daily_bars([BarRequest("BTC-USD", np.arange(today - 10, today + 1))])
            minutes = await vendor.intraday_bars(IntradayRequest("BTC-USD", "5m", hour - timedelta(hours=1), hour))
            (quote,) = await vendor.quotes(["BTC-USD"])
        finally:
            await vendor.close()
        assert daily.bars.session.tolist() == np.arange(today - 10, today).tolist()  # today has not ended
        assert np.all((daily.bars.low <= daily.bars.close) & (daily.bars.close <= daily.bars.high))
        assert np.all(daily.bars.volume > 0)
        assert len(minutes) == 12
        assert 0.5 < quote.price / daily.bars.close[-1] < 2

    asyncio.run(run())

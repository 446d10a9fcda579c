"""The real CryptoCompare, for who has a key: `CRYPTOCOMPARE_API_KEY=... pytest -m live`. Three calls."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pydantic import SecretStr

from quantmatrix_pipeline.providers.contract import BarRequest, IntradayRequest
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import cryptocompare
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording

KEY = os.environ.get("CRYPTOCOMPARE_API_KEY", "")
BASE_URL = os.environ.get("QM_CRYPTOCOMPARE_BASE_URL", "https://min-api.cryptocompare.com")


@pytest.mark.live
@pytest.mark.skipif(not KEY, reason="CRYPTOCOMPARE_API_KEY is not set")
def test_the_real_vendor_answers_in_plausible_bars() -> None:
    today = np.datetime64(datetime.now(UTC).date(), "D")
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)

    async def run() -> None:
        vendor = cryptocompare.connect(Access(BASE_URL, SecretStr(KEY), Recording()))
        await vendor.open()
        try:
            daily = await vendor.daily_bars([BarRequest("BTC-USD", np.arange(today - 10, today + 1))])
            minutes = await vendor.intraday_bars(IntradayRequest("BTC-USD", "1m", hour - timedelta(hours=1), hour))
            fives = await vendor.intraday_bars(IntradayRequest("BTC-USD", "5m", hour - timedelta(hours=1), hour))
        finally:
            await vendor.close()
        assert daily.bars.session.tolist() == np.arange(today - 10, today).tolist()  # today has not ended
        assert np.all((daily.bars.low <= daily.bars.close) & (daily.bars.close <= daily.bars.high))
        assert (len(minutes), len(fives)) == (60, 12)
        assert fives.high.max() == minutes.high.max()

    asyncio.run(run())

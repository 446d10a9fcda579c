"""The real Polygon, for who has a key: `POLYGON_API_KEY=... pytest -m live`. Three of the free plan's five calls."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pydantic import SecretStr

from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import polygon
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording

KEY = os.environ.get("POLYGON_API_KEY", "")
BASE_URL = os.environ.get("QM_POLYGON_BASE_URL", "https://api.massive.com")


@pytest.mark.live
@pytest.mark.skipif(not KEY, reason="POLYGON_API_KEY is not set")
def test_the_real_vendor_answers_in_plausible_bars() -> None:
    today = np.datetime64(datetime.now(UTC).date() - timedelta(days=2), "D")
    days = np.busday_offset(today, np.arange(-10, 0), roll="backward")

    async def run() -> None:
        vendor = polygon.connect(Access(BASE_URL, SecretStr(KEY), Recording(), reach_days=730))
        await vendor.open()
        try:
            daily = await vendor.daily_bars([BarRequest("AAPL", days)])
            market = await vendor.grouped_bars(daily.bars.session[-1].item())
            (quote,) = await vendor.quotes(["AAPL"])
        finally:
            await vendor.close()
        assert daily.basis is market.basis is Basis.RAW
        assert 7 <= len(daily.bars) <= 10
        assert np.all((daily.bars.low <= daily.bars.close) & (daily.bars.close <= daily.bars.high))
        assert len(market.bars) > 5000
        place = market.bars.symbols.index("AAPL")
        assert market.bars.close[market.bars.symbol_index == place].tolist() == [daily.bars.close[-1]]
        assert 0.5 < quote.price / daily.bars.close[-1] < 2

    asyncio.run(run())

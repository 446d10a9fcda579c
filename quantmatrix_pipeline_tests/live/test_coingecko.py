"""The real CoinGecko, with or without `COINGECKO_API_KEY`: `QM_LIVE=1 pytest -m live`. Two calls."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime

import numpy as np
import pytest
from pydantic import SecretStr

from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import coingecko
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording

KEY = os.environ.get("COINGECKO_API_KEY", "")
BASE_URL = os.environ.get("QM_COINGECKO_BASE_URL", "https://api.coingecko.com/api/v3")


@pytest.mark.live
@pytest.mark.skipif(not KEY and os.environ.get("QM_LIVE") != "1", reason="neither COINGECKO_API_KEY nor QM_LIVE=1 set")
def test_the_real_vendor_answers_in_plausible_bars() -> None:
    today = np.datetime64(datetime.now(UTC).date(), "D")

    async def run() -> None:
        vendor = coingecko.connect(Access(BASE_URL, SecretStr(KEY) if KEY else None, Recording()))
        await vendor.open()
        try:
            daily = await vendor.daily_bars([BarRequest("BTC-USD", np.arange(today - 10, today - 1))])
            quotes = await vendor.quotes(["BTC-USD", "ETH-USD", "AVAX-USD"])
        finally:
            await vendor.close()
        assert daily.bars.session.tolist() == np.arange(today - 10, today - 1).tolist()
        assert np.all((daily.bars.low <= daily.bars.close) & (daily.bars.close <= daily.bars.high))
        assert {quote.symbol for quote in quotes} == {"BTC-USD", "ETH-USD", "AVAX-USD"}
        (bitcoin,) = [quote for quote in quotes if quote.symbol == "BTC-USD"]
        assert 0.5 < bitcoin.price / daily.bars.close[-1] < 2
        assert bitcoin.market_cap is not None
        assert bitcoin.market_cap > 1e11

    asyncio.run(run())

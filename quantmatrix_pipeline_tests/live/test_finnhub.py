"""The real Finnhub, for who has a key: `FINNHUB_API_KEY=... pytest -m live`. Five of a minute's sixty calls."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pydantic import SecretStr

from quantmatrix_pipeline.bars.batch import BarBatch
from quantmatrix_pipeline.errors import SymbolNotFound, UnsupportedRequest
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import finnhub
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording

KEY = os.environ.get("FINNHUB_API_KEY", "")
BASE_URL = os.environ.get("QM_FINNHUB_BASE_URL", "https://finnhub.io/api/v1")


@pytest.mark.live
@pytest.mark.skipif(not KEY, reason="FINNHUB_API_KEY is not set")
def test_the_real_vendor_answers_plausibly_and_says_what_the_plan_lacks() -> None:
    today = np.datetime64(datetime.now(UTC).date() - timedelta(days=2), "D")
    days = np.busday_offset(today, np.arange(-10, 0), roll="backward")

    async def run() -> None:
        vendor = finnhub.connect(Access(BASE_URL, SecretStr(KEY), Recording()))
        await vendor.open()
        try:
            (quote,) = await vendor.quotes(["AAPL"])
            profile = await vendor.profile("AAPL")
            with pytest.raises(SymbolNotFound):
                await vendor.quotes(["NOSUCHSYM"])
            try:
                bars = (await vendor.daily_bars([BarRequest("AAPL", days)])).bars
            except UnsupportedRequest:  # the free plan
                bars = BarBatch.empty()
        finally:
            await vendor.close()
        assert quote.price > 0
        if len(bars):
            assert 7 <= len(bars) <= 10
            assert np.all((bars.low <= bars.close) & (bars.close <= bars.high))
            assert 0.5 < quote.price / bars.close[-1] < 2
        assert datetime.now(UTC) - quote.at < timedelta(days=7)
        assert profile.market_cap is not None
        assert profile.market_cap > 1e11

    asyncio.run(run())

"""The real FRED, for who has a key: `FRED_API_KEY=... pytest -m live`. One call."""

from __future__ import annotations

import asyncio
import os
from datetime import date

import numpy as np
import pytest
from pydantic import SecretStr

from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import fred
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording

KEY = os.environ.get("FRED_API_KEY", "")
BASE_URL = os.environ.get("QM_FRED_BASE_URL", "https://api.stlouisfed.org/fred")


@pytest.mark.live
@pytest.mark.skipif(not KEY, reason="FRED_API_KEY is not set")
def test_the_real_vendor_answers_with_a_known_week() -> None:
    async def run() -> None:
        vendor = fred.connect(Access(BASE_URL, SecretStr(KEY), Recording()))
        await vendor.open()
        try:
            macro = await vendor.macro_series("DGS10", date(1962, 1, 2), date(1962, 1, 5))
        finally:
            await vendor.close()
        assert macro.day.tolist() == np.arange("1962-01-02", "1962-01-06", dtype="datetime64[D]").tolist()
        assert macro.value[:2].tolist() == [4.06, 4.03]

    asyncio.run(run())

"""The real Wikipedia: `QM_LIVE_WIKIPEDIA=1 pytest -m live`. Three pages."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime

import pytest

from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import wikipedia
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording

BASE_URL = os.environ.get("QM_WIKIPEDIA_BASE_URL", "https://en.wikipedia.org")


@pytest.mark.live
@pytest.mark.skipif(not os.environ.get("QM_LIVE_WIKIPEDIA"), reason="QM_LIVE_WIKIPEDIA is not set (there is no key)")
def test_the_real_pages_name_plausible_members() -> None:
    async def run() -> None:
        vendor = wikipedia.connect(Access(BASE_URL, None, Recording(), user_agent=Settings().user_agent))
        await vendor.open()
        try:
            today = datetime.now(UTC).date()
            found = {index: await vendor.constituents(index, today) for index in ("SP500", "NASDAQ100", "DOW30")}
        finally:
            await vendor.close()
        symbols = {index: {member.symbol for member in answer.members} for index, answer in found.items()}
        assert 495 <= len(symbols["SP500"]) <= 510
        assert 98 <= len(symbols["NASDAQ100"]) <= 105
        assert len(symbols["DOW30"]) == 30
        assert all("AAPL" in members for members in symbols.values())
        assert {"BRK.B", "BF.B"} <= symbols["SP500"]
        assert all(member.sector for member in found["SP500"].members)

    asyncio.run(run())

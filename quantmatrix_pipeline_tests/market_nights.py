"""A small market, and nights that store, compute and record what a vendor says of it: real writes, no vendor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction

import numpy as np

from quantmatrix_pipeline.bars.batch import FIELDS, BarBatch, Basis
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.ingest.load import DailyStore
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.providers.answers import DailyAnswer, Split
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.snapshots.breadth import record_breadth
from quantmatrix_pipeline.snapshots.record import record_history, update_snapshots
from quantmatrix_pipeline.warehouse import instruments
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.universe import Tracked

CALENDAR = trading_calendar("XNYS")
DAYS = CALENDAR.window(date(2021, 12, 31), 24)
SYMBOLS = ("AAA", "BBB", "CCC")
GRACE = timedelta(minutes=30)
Key = tuple[int, int]  # which symbol, which day


def bars(said: Mapping[Key, float]) -> BarBatch:
    """Return sound bars of some keys; each number is what the plain price is multiplied by."""
    keys = sorted(said)
    rng = np.random.default_rng(3)
    plain = np.round(100 * np.cumprod(1 + rng.normal(0, 0.01, (len(SYMBOLS), len(DAYS))), axis=1), 2)
    close = np.array([plain[key] * said[key] for key in keys])
    values = {"open": close * 1.001, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": close * 1e4}
    index = np.array([symbol for symbol, _ in keys], np.int32)
    return BarBatch(SYMBOLS, index, DAYS[[day for _, day in keys]], **{name: values[name] for name in FIELDS})


def split(symbol: int, day: int, ratio: int) -> Split:
    """Return a split of one symbol on one day."""
    return Split(SYMBOLS[symbol], DAYS[day].item(), Fraction(ratio))


@dataclass
class Market:
    """The instruments in one warehouse, and its nights."""

    warehouse: Warehouse

    def __post_init__(self) -> None:
        ids = instruments.ensure(self.warehouse, [*SYMBOLS])
        self.instruments = {
            s: Tracked(ids[s], s, "stock", "XNYS", DAYS[0].item(), ("watch_list",), None) for s in SYMBOLS
        }

    def store(
        self, now: datetime, *parts: Mapping[Key, float], splits: Sequence[Split] = (), vendor: str = "polygon"
    ) -> IngestReport:
        """Store the parts of one answer, each in a transaction of its own."""
        report = IngestReport(vendor, DAYS[0].item(), DAYS[-1].item())
        requests = {symbol: BarRequest(symbol, DAYS) for symbol in SYMBOLS}
        answers = [DailyAnswer(vendor, Basis.RAW, None, bars(part)) for part in parts]
        if splits:
            answers.append(DailyAnswer(vendor, Basis.RAW, None, BarBatch.empty(), splits=tuple(splits)))
        with DailyStore(self.warehouse, CALENDAR, self.instruments, requests, report, now) as store:
            for answer in answers:
                store.store(answer)
        assert report.balanced
        return report

    def record(self, now: datetime, first: int, last: int) -> None:
        """Compute and record the sessions from one day to another."""
        days = DAYS[first].item(), DAYS[last].item()
        record_history(self.warehouse, *days, now=now)
        record_breadth(self.warehouse, *days, now=now)
        update_snapshots(self.warehouse, CALENDAR, days[1], grace=GRACE, now=now)

    def known_at(self, moment: datetime) -> dict[str, str | None]:
        """Return one number per kind of thing that was known at a moment."""
        digest = "SELECT md5(string_agg(r::text, '' ORDER BY r::text)) FROM "
        sources = {
            "bars": "(SELECT instrument_id, session, open, high, low, close, volume, quality_score, gap_detected,"
            " version, as_of, status, reason FROM price_data_known_at(:at)) r",
            "splits": "splits_known_at(:at) r",
            "history": "history_known_at(:at) r",
            "snapshots": "snapshots_known_at(:at) r",
        }
        return {name: self.warehouse.scalar(digest + source, at=moment) for name, source in sources.items()}

"""The same bars stored symbol by symbol and session by session leave the same tables, whatever their holes, splits,
faults and order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.bars.batch import BarBatch, Basis
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.errors import WarehouseError
from quantmatrix_pipeline.ingest import mend
from quantmatrix_pipeline.ingest.load import DailyStore
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.providers.answers import DailyAnswer, Kind, Split
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.warehouse import instruments
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.universe import Tracked

CALENDAR = trading_calendar("XNYS")
WINDOW = CALENDAR.window(date(2021, 12, 31), 150)
NOW = datetime(2022, 1, 3, 23, tzinfo=UTC)
LATER = datetime(2022, 1, 4, 23, tzinfo=UTC)
# What the two orders must leave alike. The log's numbers, which follow time, are not compared.
STATE = {
    "price_data": "SELECT p::text FROM price_data p ORDER BY instrument_id, session",
    "price_data_revisions": "SELECT p::text FROM price_data_revisions p ORDER BY instrument_id, session, version",
    "ingestion_cursor": "SELECT c::text FROM ingestion_cursor c ORDER BY instrument_id",
    "corporate_actions": "SELECT a::text FROM corporate_actions a ORDER BY action_id",
    "history_due": "SELECT d::text FROM history_due d ORDER BY instrument_id",
    "validation_log": "SELECT symbol, instrument_id, interval, session, reason_codes, detail, payload::text, logged_at"
    " FROM validation_log ORDER BY fingerprint",
}


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


def market(seed: int, symbols: int = 7) -> tuple[BarBatch, tuple[Split, ...]]:
    """Return bars with lives that begin anywhere, holes, jumps, broken rows, repeats and a Saturday; and splits."""
    rng = np.random.default_rng(seed)
    names = tuple(f"S{i}" for i in range(symbols))
    shape = (symbols, len(WINDOW))
    close = np.round(50 * np.exp(np.cumsum(rng.normal(0, 0.03, shape), axis=1)), 2)
    opened = np.round(close * np.exp(rng.normal(0, 0.02, shape)), 2)
    volume = np.round(np.exp(rng.normal(8, 1.2, shape)))
    splits = []
    for at in np.flatnonzero(rng.random(symbols) < 0.5):
        ex = int(rng.integers(1, len(WINDOW)))
        ratio = Fraction(int(rng.choice([2, 3, 7])), int(rng.choice([1, 2])))
        close[at, ex:] /= float(ratio)
        opened[at, ex:] /= float(ratio)
        splits.append(Split(names[at], WINDOW[ex].item(), ratio))
    values = {
        "open": opened,
        "high": np.maximum(opened, close) * 1.01,
        "low": np.minimum(opened, close) * 0.99,
        "close": close,
        "volume": volume,
    }
    values["high"][rng.random(shape) < 0.01] = 0.5  # below everything: refused
    values["volume"][0] = np.nan  # the first is an index
    there = rng.random(shape) >= rng.choice([0.0, 0.05, 0.5])
    there &= np.arange(len(WINDOW)) >= np.where(rng.random(symbols) < 0.5, 0, rng.integers(0, 140, symbols))[:, None]
    symbol, session = np.nonzero(there)
    batch = BarBatch(
        names, symbol.astype(np.int32), WINDOW[session], **{name: column[there] for name, column in values.items()}
    )
    again = rng.integers(0, len(batch), 6)  # three repeats, three contradictions, and a bar on a Saturday
    repeats = batch.take(np.concatenate([again, again[:1]]))
    repeats.close[3:6] *= 1.001
    repeats.session[6] = np.datetime64("2021-09-18")
    return BarBatch.concat([batch, repeats]), tuple(splits)


@dataclass
class Setting:
    """A database with some instruments, and parts stored in it."""

    warehouse: Warehouse
    symbols: Sequence[str]

    def __post_init__(self) -> None:
        self.warehouse.execute(f"TRUNCATE {', '.join(STATE)}, knowledge_clock, instruments RESTART IDENTITY CASCADE")
        ids = instruments.ensure(self.warehouse, list(self.symbols))
        kinds = {s: Kind.INDEX if i == 0 else Kind.STOCK for i, s in enumerate(self.symbols)}
        self.instruments = {
            s: Tracked(ids[s], s, kinds[s].value, "XNYS", WINDOW[0].item(), ("watch_list",), None) for s in self.symbols
        }

    def store(
        self,
        parts: Sequence[BarBatch],
        splits: Sequence[Split] = (),
        now: datetime = NOW,
        basis_date: date | None = None,
    ) -> IngestReport:
        report = IngestReport("polygon", WINDOW[0].item(), WINDOW[-1].item())
        requests = {s: BarRequest(s, WINDOW) for s in self.symbols}
        basis = Basis.RAW if basis_date is None else Basis.SPLIT
        answers = [DailyAnswer("polygon", basis, basis_date, bars) for bars in parts]
        if splits:
            answers.insert(0, DailyAnswer("polygon", basis, basis_date, BarBatch.empty(), splits=tuple(splits)))
        # Without repairs: what proves a bar faulty may come a part later, as a revision, or in the same part.
        with DailyStore(self.warehouse, CALENDAR, self.instruments, requests, report, now, repair_at=mend.OFF) as daily:
            for answer in answers:
                daily.store(answer)
        assert report.balanced
        return report

    def state(self) -> dict[str, list[tuple[object, ...]]]:
        return {table: [tuple(row) for row in self.warehouse.rows(query)] for table, query in STATE.items()}


def by_symbol(bars: BarBatch, per_part: int) -> list[BarBatch]:
    """Return the bars in parts of a few symbols, each with all sessions."""
    starts = range(0, len(bars.symbols), per_part)
    return [bars.take((bars.symbol_index >= i) & (bars.symbol_index < i + per_part)) for i in starts]


def by_session(bars: BarBatch, cuts: Sequence[int]) -> list[BarBatch]:
    """Return the bars in parts that each begin at one of the sessions at `cuts`, all symbols together."""
    edges = WINDOW[sorted({0, *cuts})]
    part = np.searchsorted(edges, bars.session, side="right") - 1
    return [bars.take(part == i) for i in range(len(edges))]


def shuffled(bars: BarBatch, seed: int) -> BarBatch:
    return bars.take(np.random.default_rng(seed).permutation(len(bars)))


seeds = st.integers(0, 2**32 - 1)
cuts = st.lists(st.integers(1, len(WINDOW) - 1), max_size=30)
some = settings(
    max_examples=10,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@given(seed=seeds, cuts=cuts, per_part=st.integers(1, 7), known_splits=st.booleans())
@some
def test_a_market_stored_by_session_leaves_the_tables_of_one_stored_by_symbol(
    warehouse: Warehouse, seed: int, cuts: list[int], per_part: int, known_splits: bool
) -> None:
    bars, splits = market(seed)
    known = splits if known_splits else ()
    one = Setting(warehouse, bars.symbols)
    expected = one.store(by_symbol(bars, per_part), known), one.state()
    other = Setting(warehouse, bars.symbols)
    parts = [shuffled(part, seed) for part in by_session(bars, cuts)]
    assert (other.store(parts, known), other.state()) == expected
    assert other.store(parts, known, LATER).inserted == 0, "the same again changes nothing"
    assert other.state() == expected[1]


@example(seed=47, cuts=[1], held=0.5, order=Random(1))
@given(seed=seeds, cuts=cuts, held=st.floats(0.05, 0.95), order=st.randoms(use_true_random=False))
@some
def test_between_bars_that_are_stored_already_the_order_of_the_parts_leaves_the_same_bars(
    warehouse: Warehouse, seed: int, cuts: list[int], held: float, order: Random
) -> None:
    """Holes are filled, bars corrected, later ones judged anew: in the end all are what the bars themselves say."""
    bars, splits = market(seed)
    rng = np.random.default_rng(seed)
    # A stored bar that comes again twice, in contradiction, stays as it is: such keys are left to what comes later.
    _, key, times = np.unique(
        [bars.symbol_index, bars.session.astype(np.int64)], axis=1, return_inverse=True, return_counts=True
    )
    before = bars.take((rng.random(len(bars)) < held) & (times[key] == 1))
    before.close[rng.random(len(before)) < 0.1] *= 1.002  # corrected by what comes
    parts = by_session(bars, cuts)
    order.shuffle(parts)
    found = []
    for second in (by_symbol(bars, 3), parts):
        place = Setting(warehouse, bars.symbols)
        place.store(by_symbol(before, 7), splits[:1])
        place.store(second, splits, LATER)
        found.append(place.state())
    assert current(found[1]) == current(found[0])


def current(state: dict[str, list[tuple[object, ...]]]) -> list[tuple[object, ...]]:
    """Return the stored bars but for version and as_of: how often one is judged anew depends on the order."""
    return [tuple(str(row[0]).strip("()").split(",")[:-2]) for row in state["price_data"]]


def test_after_a_part_that_failed_the_next_goes_on_from_what_is_stored(warehouse: Warehouse) -> None:
    bars, _ = market(11)
    one = Setting(warehouse, bars.symbols)
    one.store([bars])
    expected = one.state()
    other = Setting(warehouse, bars.symbols)
    parts = by_session(bars, [40, 80, 120])
    report = IngestReport("polygon", WINDOW[0].item(), WINDOW[-1].item())
    requests = {s: BarRequest(s, WINDOW) for s in bars.symbols}
    with DailyStore(warehouse, CALENDAR, other.instruments, requests, report, NOW, repair_at=mend.OFF) as daily:
        for part in parts:
            answer = DailyAnswer("polygon", Basis.RAW, None, part)
            warehouse.execute(
                "ALTER TABLE history_due ADD CONSTRAINT full_disk CHECK (first_session IS NULL) NOT VALID"
            )
            with pytest.raises(WarehouseError) as raised:
                daily.store(answer)
            assert "full_disk" in str(raised.value.__cause__)
            warehouse.execute("ALTER TABLE history_due DROP CONSTRAINT full_disk")
            daily.store(answer)
    assert report.balanced
    assert other.state() == expected

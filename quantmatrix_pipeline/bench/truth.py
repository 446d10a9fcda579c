"""What it costs to keep every version: writes over stored bars, reads of what was known, restating; beside plain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from quantmatrix_pipeline.bars.batch import FIELDS, BarBatch, Basis, Floats
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.bench import completeness
from quantmatrix_pipeline.bench.dataset import LAST
from quantmatrix_pipeline.bench.load import Fetched, fetch, require, store
from quantmatrix_pipeline.bench.measure import Measured, Samples, Series, measured
from quantmatrix_pipeline.bench.workspace import NOW, Database, Workspace
from quantmatrix_pipeline.providers.answers import DailyAnswer
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.vendors.files.provider import FilesProvider
from quantmatrix_pipeline.snapshots.record import record_history, update_snapshots
from quantmatrix_pipeline.snapshots.restate import restate
from quantmatrix_pipeline.warehouse import actions, instruments, reads
from quantmatrix_pipeline.warehouse import history as tables
from quantmatrix_pipeline.warehouse.universe import Tracked

SYMBOLS, SESSIONS = 800, 1260  # a million bars
EVERYONE = 8000  # with a bar on the last session
REVISED = 0.01  # of the bars, in each of two corrections
READS = 300
CALENDAR = trading_calendar("XNYS")
GRACE = timedelta(minutes=30)
LEARNED = datetime.fromisoformat(NOW)


@dataclass(frozen=True, slots=True)
class Market:
    """Sound bars of `symbols` over the last `sessions`, seeded; the later of two corrections holds the earlier."""

    symbols: Sequence[str]
    sessions: int

    def values(self, corrections: int) -> dict[str, Floats]:
        """Return open .. volume, shape (symbols, sessions), after so many corrections of 1 % of the bars each."""
        rng = np.random.default_rng(20240101)
        shape = (len(self.symbols), self.sessions)
        close = np.round(50 * np.exp(np.cumsum(rng.normal(0, 0.01, shape), axis=1)), 2)
        opened = np.round(close * np.exp(rng.normal(0, 0.005, shape)), 2)
        volume = np.round(np.exp(rng.normal(13, 0.3, shape)))
        for _ in range(corrections):
            volume[rng.random(shape) < REVISED] += 1_000
        high, low = np.maximum(opened, close) + 0.01, np.minimum(opened, close) - 0.01
        return {"open": opened, "high": high, "low": low, "close": close, "volume": volume}

    def fetched(self, ids: dict[str, int], corrections: int = 0, per_part: int = 512) -> Fetched:
        """Return a vendor's whole answer, in parts of some symbols each."""
        days = CALENDAR.window(LAST, self.sessions)
        values = self.values(corrections)
        parts = []
        for start in range(0, len(self.symbols), per_part):
            names = tuple(self.symbols[start : start + per_part])
            index = np.repeat(np.arange(len(names), dtype=np.int32), self.sessions)
            columns = {name: values[name][start : start + per_part].ravel() for name in FIELDS}
            bars = BarBatch(names, index, np.tile(days, len(names)), **columns)
            parts.append(DailyAnswer("polygon", Basis.RAW, None, bars))
        tracked = {s: Tracked(ids[s], s, "stock", "XNYS", LAST, ("watch_list",), None) for s in self.symbols}
        requests = {symbol: BarRequest(symbol, days) for symbol in self.symbols}
        return Fetched(CALENDAR, tracked, requests, parts, len(self.symbols) * self.sessions)


def run(space: Workspace, repeats: int = 5) -> list[Measured]:
    """Measure writes over a million stored bars, reads of what was known, and the restating of one split."""
    names = [f"T{number:04d}" for number in range(EVERYONE)]
    long, short = Market(names[:SYMBOLS], SESSIONS), Market(names[SYMBOLS:], 30)
    series = Series()
    with space.database("truth") as database:
        ids = instruments.ensure(database.writer, names)
        plain = long.fetched(ids)
        bars = store(database.writer, plain, LEARNED).inserted
        require(bars == SYMBOLS * SESSIONS, f"{bars} bars stored of a million")
        store(database.writer, short.fetched(ids), LEARNED)
        _writes(space, database, long, ids, plain, series, repeats)
        space.vacuum(database)
        known = LEARNED + timedelta(hours=1)
        _reads(database, ids, names, known, series)
    equal, changed = series["equal"], series["changed"]
    rows = [
        measured(
            f"{bars:,} bars that are stored and equal",
            equal.rate(bars),
            "rows/s",
            requirement=">= 400,000 rows/s",
            met=equal.rate(bars).median >= 400_000,
        ),
        measured(
            f"the same with {REVISED:.0%} changed",
            changed.rate(bars),
            "rows/s",
            ratio_to="the time of the equal ones",
            ratio=(ratio := changed.over(equal)),
            requirement="<= 1.3 of it",
            met=ratio.median <= 1.3,
        ),
        *_percentiles(series, f"one symbol's {SESSIONS:,} bars", "one", 15),
        *_percentiles(series, f"{EVERYONE:,} symbols at a session", "all", 100),
    ]
    return rows + _restating(space, repeats) + completeness.run(space, repeats)


def _writes(
    space: Workspace,
    database: Database,
    market: Market,
    ids: dict[str, int],
    plain: Fetched,
    series: Series,
    repeats: int,
) -> None:
    """Time the same bars again, then a correction of one per cent, and back; the first turn does not count."""
    corrected, moment = market.fetched(ids, corrections=1), LEARNED
    for turn in range(repeats + 1):
        into = series if turn else Series()
        moment += timedelta(minutes=1)
        current, other = (plain, corrected) if turn % 2 == 0 else (corrected, plain)
        space.settle()
        equal = into.time("equal", lambda f=current, at=moment: store(database.writer, f, at))  # type: ignore[misc]
        require(equal.revised == 0, f"equal bars changed something: {equal}")
        space.settle()
        changed = into.time("changed", lambda f=other, at=moment: store(database.writer, f, at))  # type: ignore[misc]
        require(0.009 < changed.revised / plain.bars < 0.011, f"one per cent was to change: {changed}")
    store(database.writer, market.fetched(ids, corrections=2), moment + timedelta(minutes=1))
    bars = "SELECT count(DISTINCT (instrument_id, session)) FROM price_data_revisions"
    require(database.writer.scalar(bars) > 0.019 * plain.bars, "two per cent of the bars were to have revisions")


def _reads(database: Database, ids: dict[str, int], names: Sequence[str], known: datetime, series: Series) -> None:
    """Time reads of the bars as they are and as they were known, in turns."""
    rng = np.random.default_rng(7)
    columns = (*reads.BAR_COLUMNS, "source_id", "version", "as_of")
    before = LEARNED + timedelta(seconds=30)  # between the first load and the first correction
    days = CALENDAR.window(LAST, 30)
    session = "SELECT * FROM {} WHERE session = $1 AND interval = '1d'"
    for turn in range(READS + 10):
        into = series if turn >= 10 else Series()
        one = ids[names[int(rng.integers(SYMBOLS))]]
        day = days[int(rng.integers(len(days)))].item()
        for name, moment in (("plain", None), ("known", before)):
            found = into.time(
                f"one {name}",
                lambda i=one, at=moment: reads.daily_bars(database.writer, i, columns=columns, as_of=at),  # type: ignore[misc]
            )
            require(found.num_rows == SESSIONS, f"{found.num_rows} bars of one symbol")
        tasks: dict[str, Callable[[], int]] = {
            "plain": lambda d=day: database.writer.read(session.format("price_data"), [d]).num_rows,  # type: ignore[misc]
            "known": lambda d=day: (
                database.writer.read(  # type: ignore[misc]
                    session.format("price_data_known_at($2)"), [d, before]
                ).num_rows
            ),
        }
        for name, task in tasks.items():
            require(into.time(f"all {name}", task) == EVERYONE, "not everyone's bars of a session came")


def _percentiles(series: Series, what: str, key: str, limit: float) -> list[Measured]:
    """Return the 99th percentiles of plain and as-of reads in milliseconds."""
    plain, known = (
        Samples((float(np.percentile(series[f"{key} {name}"].times(1000).values, 99)),)) for name in ("plain", "known")
    )
    return [
        measured(f"{what}, as they are, p99", plain, "ms"),
        measured(
            f"{what}, as known then, p99",
            known,
            "ms",
            ratio_to="the plain read",
            ratio=known.over(plain),
            requirement=f"<= {limit} ms on a quiet core",
            met=known.median <= limit,
        ),
    ]


def _restating(space: Workspace, repeats: int) -> list[Measured]:
    """Time what a split of one instrument, learned late, makes of its recorded history."""
    series = Series()
    sessions = CALENDAR.window(LAST, SESSIONS)
    with space.database("restated") as database:
        warehouse = database.writer
        fetched = fetch(warehouse, FilesProvider(space.dataset.folder), space.dataset.first, space.dataset.last)
        store(warehouse, fetched, LEARNED)
        first, last = sessions[0].item(), sessions[-1].item()
        record_history(warehouse, first, last, now=LEARNED)
        update_snapshots(warehouse, CALENDAR, last, grace=GRACE, now=LEARNED)
        space.vacuum(database)
        symbols = sorted(fetched.instruments)
        for turn in range(repeats + 1):
            one = fetched.instruments[symbols[turn]].instrument_id
            moment = LEARNED + timedelta(minutes=turn + 1)
            ex_date: date = sessions[1].item()
            with warehouse.arrow() as transaction:
                split = {"instrument_id": one, "kind": "split", "ex_date": ex_date, "numerator": 3, "denominator": 1}
                learned = actions.write_actions(transaction, [{**split, "vendor": "polygon", "as_of": moment}])
                # Bars less splits up to a later day are in other shares from the first one on.
                tables.mark_due(transaction, dict.fromkeys(learned, first))
            space.settle()
            done = restate(warehouse, CALENDAR, now=moment, grace=GRACE)
            if turn:
                series.add("history", done.history_seconds)
                series.add("all", done.seconds)
            require(done.instruments == 1 and done.counts.restated > 0, f"a split restated {done}")
            restated = done.counts.restated
    return [
        measured(
            f"a late split of one of {len(symbols)} instruments, {restated:,} rows restated",
            (history := series["history"]),
            "s",
            requirement="<= 2 s on a quiet core",
            met=history.median <= 2,
        ),
        measured("the same with the breadth and all snapshots that follow", series["all"], "s"),
    ]

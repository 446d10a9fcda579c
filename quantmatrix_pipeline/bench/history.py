"""How fast a range of sessions becomes history, from stored bars to committed rows, beside a bare COPY of the same."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.bench.load import fetch, require, store
from quantmatrix_pipeline.bench.measure import Series, measured
from quantmatrix_pipeline.bench.report import Row
from quantmatrix_pipeline.bench.workspace import NOW, Database, Workspace
from quantmatrix_pipeline.providers.vendors.files.provider import FilesProvider
from quantmatrix_pipeline.snapshots.record import record_history

SESSIONS = 1258
TABLE = "market_analysis_history"
BARE = "bare_history"


def run(space: Workspace, repeats: int = 5) -> list[Row]:
    """Measure the first recording of a range, one of a range that may hold rows, its repetition, and a bare COPY.

    A single session in the middle, recorded before, makes the range one in which any row may exist: each is looked up.
    """
    series = Series()
    now = datetime.fromisoformat(NOW)
    last = space.dataset.last
    first = trading_calendar("XNYS").window(last, SESSIONS)[0].item()
    rows = 0
    with space.database("loaded") as loaded:
        fetched = fetch(loaded.writer, FilesProvider(space.dataset.folder), space.dataset.first, last)
        store(loaded.writer, fetched, now)
        space.vacuum(loaded)
        loaded.writer.close()  # a database can't be copied while somebody is connected to it
        loaded.owner.close()
        for turn in range(repeats + 1):
            if turn == 1:
                series = Series()  # the first turn pays for the server's log files, which later ones reuse
            with space.database(template="loaded") as database:
                space.settle()
                done = series.time("first", lambda d=database: record_history(d.writer, first, last, now=now))  # type: ignore[misc]
                rows = done.counts.recorded
                table = database.writer.arrow_table(
                    f"SELECT {_columns(database)} FROM {TABLE} ORDER BY session, instrument_id"
                )
                require(table.num_rows == rows, f"{rows} rows recorded, {table.num_rows} stored")
                _make_bare(database, first.year, last.year)
                space.settle()
                series.time("bare", lambda d=database, t=table: _copy(d, t))  # type: ignore[misc]
                space.settle()
                again = series.time("again", lambda d=database: record_history(d.writer, first, last, now=now))  # type: ignore[misc]
                require(again.counts.unchanged == rows, f"the same range again changed something: {again.counts}")
            with space.database(template="loaded") as database:
                middle = trading_calendar("XNYS").window(last, SESSIONS // 2)[0].item()
                there = record_history(database.writer, middle, middle, now=now).counts.recorded
                space.settle()
                over = series.time("over", lambda d=database: record_history(d.writer, first, last, now=now))  # type: ignore[misc]
                require(
                    over.counts.recorded == rows - there and not over.counts.restated,
                    f"{rows} rows over {there} that stood there: {over.counts}",
                )
        with space.database(template="loaded") as database:
            under_dagster = space.python(
                "quantmatrix_pipeline.bench.range_run", str(first), str(last), extra={"QM_DATABASE_URL": database.url}
            )
            require(under_dagster["recorded"] == rows, f"under Dagster: {under_dagster}, of {rows} rows")
    share = series["bare"].over(series["first"])
    own = under_dagster["wall"] - under_dagster["work"]
    return [
        measured(f"bare COPY of {rows:,} rows, same partitions and indexes", series["bare"].rate(rows), "rows/s"),
        measured(
            f"history of {SESSIONS:,} sessions, {rows:,} rows, bars to commit",
            series["first"].rate(rows),
            "rows/s",
            ratio_to="the bare COPY",
            ratio=share,
            requirement=">= 0.80 of the bare COPY",
            met=share.median >= 0.80,
        ),
        measured(
            "the same where rows may exist: one session stood there",
            series["over"].rate(rows),
            "rows/s",
            ratio_to="the bare COPY",
            ratio=(over_share := series["bare"].over(series["over"])),
            requirement=">= 0.60 of the bare COPY",
            met=over_share.median >= 0.60,
        ),
        measured(
            "the same range again, nothing changed",
            series["again"].rate(rows),
            "rows/s",
            ratio_to="first recording",
            ratio=series["first"].over(series["again"]),
        ),
        Row(
            f"the same range as one run of the job, {under_dagster['events']:,} materializations",
            under_dagster["wall"],
            "s",
        ),
        Row("of it: Dagster's own (run, events)", own, "s", "the whole run", own / under_dagster["wall"]),
    ]


def _columns(database: Database) -> str:
    names = database.owner.rows(
        "SELECT column_name FROM information_schema.columns"
        f" WHERE table_name = '{TABLE}' AND column_name <> 'raw_analysis' ORDER BY ordinal_position"
    )
    return ", ".join(row.column_name for row in names)


def _make_bare(database: Database, first_year: int, last_year: int) -> None:
    database.owner.execute(f"CREATE TABLE {BARE} (LIKE {TABLE} INCLUDING ALL) PARTITION BY RANGE (session)")
    for year in range(first_year, last_year + 1):
        database.owner.execute(
            f"CREATE TABLE {BARE}_{year} PARTITION OF {BARE} FOR VALUES FROM ('{year}-01-01') TO ('{year + 1}-01-01')"
        )


def _copy(database: Database, table: pa.Table) -> None:
    with database.owner.arrow() as transaction:
        transaction.append(BARE, table)

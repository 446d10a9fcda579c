"""How fast stored bars become a panel, beside one bare read of the same columns."""

from __future__ import annotations

from datetime import datetime

from quantmatrix_pipeline.bench.load import fetch, require, store
from quantmatrix_pipeline.bench.measure import Measured, Series, measured
from quantmatrix_pipeline.bench.workspace import NOW, Workspace
from quantmatrix_pipeline.providers.vendors.files.provider import FilesProvider
from quantmatrix_pipeline.snapshots.panel import read_panel
from quantmatrix_pipeline.warehouse.bars import PRICES

BARE = f"SELECT instrument_id, session, {', '.join(PRICES)}, source_id FROM price_data_1d"


def run(space: Workspace, repeats: int = 5) -> list[Measured]:
    """Measure `read_panel` of everything stored, and a bare ADBC read of its columns, in turns."""
    series = Series()
    with space.database() as database:
        fetched = fetch(database.writer, FilesProvider(space.dataset.folder), space.dataset.first, space.dataset.last)
        stored = store(database.writer, fetched, datetime.fromisoformat(NOW)).inserted
        # Statistics and visibility as the server's own housekeeping leaves them soon after a load.
        space.vacuum(database)
        for turn in range(repeats + 1):
            into = series if turn else Series()  # the first turn warms the server's cache for both
            bare = into.time("bare", lambda: database.writer.arrow_table(BARE))
            panel = into.time("panel", lambda: read_panel(database.writer, space.dataset.last))
            require(
                bare.num_rows == stored == panel.length.sum(), f"{bare.num_rows} rows, {panel.length.sum()} in a panel"
            )
    size = f"{len(space.dataset.symbols)} symbols, {stored:,} bars"
    return [
        measured(f"bare ADBC read, {size}", series["bare"].times(1000), "ms"),
        measured(
            f"panel, {size}",
            series["panel"].times(1000),
            "ms",
            ratio_to="the bare read",
            ratio=(ratio := series["panel"].over(series["bare"])),
            requirement="<= 1.25 of the bare read",
            met=ratio.median <= 1.25,
        ),
    ]

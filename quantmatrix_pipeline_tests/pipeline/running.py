"""Run the jobs as the command line does, on a folder of files and a database of the test's own; read what they did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from dagster import AssetCheckEvaluation, DagsterEvent, DagsterInstance, TableMetadataValue

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.job_names import RESTORE
from quantmatrix_pipeline.warehouse.engine import Warehouse

CALENDAR = trading_calendar("XNYS")

# Everything that a run writes and a second run must leave as it is, to the instant at which it was learned.
FACTS = (
    "instruments",
    "instrument_symbols",
    "index_constituents",
    "index_spells",
    "index_coverage",
    "symbol_changes",
    "symbol_universe",
    "universe_versions",
    "bar_sources",
    "price_data",
    "price_data_revisions",
    "corporate_actions",
    "validation_log",
    "ingestion_cursor",
    "market_analysis_cache",
    "market_analysis_history",
    "market_breadth",
)


LARGEST_VALUE_BYTES = 2000


def sessions(last: str, count: int) -> list[date]:
    """Return the `count` sessions of the exchange that end with `last`."""
    return list(CALENDAR.window(date.fromisoformat(last), count).tolist())


def walk(symbols: Sequence[str], days: Sequence[date], seed: int = 7) -> pd.DataFrame:
    """Return sound bars in cents, one per symbol and day: a random walk that no soft rule objects to."""
    rng = np.random.default_rng(seed)
    parts = []
    for symbol in symbols:
        close = np.round(100 * np.cumprod(1 + rng.normal(0, 0.01, len(days))), 2)
        opened = np.round(close * (1 + rng.normal(0, 0.003, len(days))), 2)
        high = np.round(np.maximum(opened, close) * (1 + rng.uniform(0, 0.01, len(days))), 2)
        low = np.round(np.minimum(opened, close) * (1 - rng.uniform(0, 0.01, len(days))), 2)
        volume = rng.integers(800_000, 1_200_000, len(days))
        parts.append(
            pd.DataFrame(
                {"symbol": symbol, "date": days, "open": opened, "high": high, "low": low, "close": close}
                | {"volume": volume}
            )
        )
    return pd.concat(parts, ignore_index=True)


@dataclass
class Folder:
    """A folder of the files source that a test writes anew as often as it likes."""

    path: Path

    def write(
        self,
        bars: pd.DataFrame,
        *,
        basis: str = "raw",
        basis_date: str | None = None,
        splits: str | None = None,
        instruments: str | None = None,
        constituents: Mapping[str, str | Path] | None = None,
        renames: str | None = None,
        spells: Mapping[str, str] | None = None,
    ) -> None:
        """Write bars, declaration and small tables; `constituents` maps an index to a CSV's text or a file's path,
        `spells` one to a CSV's text.
        """
        self.path.mkdir(exist_ok=True)
        bars.to_parquet(self.path / "bars.parquet", index=False)
        lines = ["[[bars]]", 'path = "bars.parquet"', f'basis = "{basis}"']
        if basis_date:
            lines.append(f"basis_date = {basis_date}")
        if splits is not None:
            (self.path / "splits.csv").write_text(splits)
            lines += ["[actions]", 'splits = "splits.csv"']
        if instruments is not None:
            (self.path / "instruments.csv").write_text(instruments)
            lines += ["[instruments]", 'path = "instruments.csv"']
        if renames is not None:
            (self.path / "renames.csv").write_text(renames)
            lines += ["[symbols]", 'renames = "renames.csv"']
        for index, stays in (spells or {}).items():
            (self.path / f"{index}_spells.csv").write_text(stays)
            lines += [f"[membership.{index}]", f'spells = "{index}_spells.csv"', "to = 2022-12-30"]
        if constituents:
            lines.append("[constituents]")
            for index, members in constituents.items():
                file = members
                if isinstance(members, str):
                    file = self.path / f"{index}.csv"
                    file.write_text(members)
                lines.append(f'{index} = "{file}"')
        (self.path / "source.toml").write_text("\n".join(lines) + "\n")


@dataclass
class Outcome:
    """What a run did: metadata by asset, check evaluations by name, the innermost error of each failed step."""

    success: bool
    run_id: str
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: dict[str, AssetCheckEvaluation] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def rows(self, asset: str, name: str) -> list[dict[str, Any]]:
        """Return a table of an asset's metadata as plain mappings."""
        return [dict(record.data) for record in self.facts[asset][name].records]


@dataclass
class Chain:
    """The jobs over one database; each run reads the environment anew, as a process of its own would."""

    instance: DagsterInstance

    def run(
        self, first: date, last: date | None = None, job: str = RESTORE, tags: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run a job for one session, or for the sessions [first, last] at once."""
        span = (
            {}
            if last is None
            else {
                "dagster/asset_partition_range_start": str(first),
                "dagster/asset_partition_range_end": str(last),
            }
        )
        result = (
            build_defs()
            .resolve_job_def(job)
            .execute_in_process(
                instance=self.instance,
                partition_key=str(first) if last is None else None,
                tags={**span, **(tags or {})},
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
        )
        assert overlong(result.all_events) == {}
        outcome = Outcome(result.success, result.run_id)
        for event in result.all_events:
            if event.is_step_failure:
                error = event.step_failure_data.error
                while error.cause is not None:
                    error = error.cause
                outcome.errors[str(event.step_key)] = error.message
            elif event.event_type_value == "ASSET_MATERIALIZATION":
                key = event.materialization.asset_key.to_user_string()
                outcome.facts[key] = {name: v.value for name, v in event.materialization.metadata.items()}
            elif event.event_type_value == "ASSET_CHECK_EVALUATION":
                evaluation = event.asset_check_evaluation_data
                outcome.checks[evaluation.check_name] = evaluation
        return outcome


def overlong(events: Iterable[DagsterEvent]) -> dict[str, int]:
    """Return step and name -> bytes of each metadata value over 2 kB that is no table: nobody reads those on a page."""
    found = {}
    for event in events:
        data = event.event_specific_data
        for holder in (data, getattr(data, "materialization", None), getattr(data, "asset_observation", None)):
            for name, value in (getattr(holder, "metadata", None) or {}).items():
                size = 0 if isinstance(value, TableMetadataValue) else len(str(value.value).encode())
                if size > LARGEST_VALUE_BYTES:
                    found[f"{event.step_key}.{name}"] = size
    return found


def hashes(warehouse: Warehouse, tables: Sequence[str] = FACTS) -> dict[str, str]:
    """Return one hash per table over all columns of all rows, whatever their order."""
    digest = "count(*) || ':' || md5(coalesce(string_agg(md5(t::text), '' ORDER BY md5(t::text)), ''))"
    return {table: warehouse.scalar(f"SELECT {digest} FROM {table} t") for table in tables}

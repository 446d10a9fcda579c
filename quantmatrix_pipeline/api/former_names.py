"""Names that tasks had in the systems that this one replaces, and what took their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quantmatrix_pipeline.job_names import (
    BACKFILL_HISTORY,
    BACKFILL_STALE,
    BACKFILL_SYMBOLS,
    RECOMPUTE,
    RECORD,
    REFRESH_CONSTITUENTS,
    REFRESH_COVERAGE,
    RESTORE,
    RETENTION,
)

Config = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Successor:
    """A job, and the configuration of its ops under which it does what the former task did.

    `needs` is an (op, field) that whoever launches must fill in: the job's default is about more than the task was.
    """

    job: str
    config: Config = field(default_factory=dict)
    needs: tuple[str, str] | None = None


SUCCESSORS: Mapping[str, Successor] = {
    "restore_daily_coverage_tracked": Successor(RESTORE),
    "bootstrap_daily_coverage_tracked": Successor(RESTORE),
    "backfill_last_bars": Successor(BACKFILL_STALE),
    "backfill_stale_daily_tracked": Successor(BACKFILL_STALE),
    "refresh_single_symbol": Successor(BACKFILL_SYMBOLS, needs=("fetch_symbols", "symbols")),
    "recompute_indicators_universe": Successor(RECOMPUTE),
    "refresh_portfolio_indicators": Successor(RECOMPUTE, {"indicator_snapshots": {"scope": "portfolio"}}),
    "compute_chart_metrics_index": Successor(RECOMPUTE, {"indicator_snapshots": {"scope": "index", "index": "SP500"}}),
    "record_daily_history": Successor(RECORD),
    "backfill_snapshot_history_for_date": Successor(BACKFILL_HISTORY),
    "backfill_snapshot_history_last_n_days": Successor(BACKFILL_HISTORY),
    "monitor_coverage_health": Successor(REFRESH_COVERAGE),
    "refresh_index_constituents": Successor(REFRESH_CONSTITUENTS),
    "update_tracked_symbol_cache": Successor(REFRESH_CONSTITUENTS),
    "enforce_price_data_retention": Successor(RETENTION),
}

# Of bars that are not stored yet.
INTRADAY = ("backfill_5m_last_n_days", "backfill_5m_for_symbols")


def plain(name: str) -> str:
    """Return a task's name without its module and with underscores: `backend.tasks.backfill-last-bars` is the last word
    of it.
    """
    return name.rsplit(".", 1)[-1].replace("-", "_")


def merged(ours: Config, given: Config) -> Config:
    """Return a configuration by op in which what was given wins, field by field."""
    return {op: {**ours.get(op, {}), **given.get(op, {})} for op in (*ours, *(op for op in given if op not in ours))}

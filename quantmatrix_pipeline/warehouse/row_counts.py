"""How many rows the tables hold that keep facts."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from quantmatrix_pipeline.warehouse.engine import Warehouse

TABLES = (
    "instruments", "index_constituents", "symbol_universe", "price_data", "price_data_revisions", "corporate_actions",
    "validation_log", "market_analysis_cache", "market_analysis_history", "market_breadth", "coverage_snapshots",
)  # fmt: skip

# A table's file changes when it is truncated, its two counters when rows came or went. A server that crashed has
# forgotten the counters, which is a change as well.
_LEAVES = """
    WITH RECURSIVE part AS (
        SELECT name, name::regclass::oid AS oid FROM unnest(CAST(:tables AS text[])) AS name
        UNION ALL
        SELECT p.name, i.inhrelid FROM part p JOIN pg_inherits i ON i.inhparent = p.oid
    )
    SELECT p.name, CAST(p.oid AS bigint) AS oid, CAST(p.oid AS regclass)::text AS leaf,
           concat_ws(' ', c.relfilenode, s.n_tup_ins, s.n_tup_del) AS state
    FROM part p JOIN pg_class c ON c.oid = p.oid LEFT JOIN pg_stat_all_tables s ON s.relid = p.oid
    WHERE c.relkind = 'r'
"""


@dataclass(frozen=True, slots=True)
class _Counted:
    """The rows of a leaf, a table or a partition, and the state in which it had them."""

    state: str
    rows: int


class RowCounter:
    """Counts the rows of `TABLES`; again only in partitions where rows came or went since the last time.

    A count reads every row, and most are years old. PostgreSQL's statistics tell what changed; they follow a commit by
    some seconds, and so may a count.
    """

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Warehouse, dict[int, _Counted]] = WeakKeyDictionary()

    def __call__(self, warehouse: Warehouse) -> dict[str, int]:
        """Return table -> number of its rows."""
        before = self._known.get(warehouse, {})
        leaves = warehouse.rows(_LEAVES, tables=list(TABLES))
        # The state is read before the rows: what comes in between is counted now, and once more the next time.
        known = {leaf.oid: before[leaf.oid] for leaf in leaves if _same(before.get(leaf.oid), leaf.state)}
        changed = [leaf for leaf in leaves if leaf.oid not in known]
        if changed:
            union = " UNION ALL ".join(f"SELECT {leaf.oid} AS oid, count(*) AS n FROM {leaf.leaf}" for leaf in changed)
            states = {leaf.oid: leaf.state for leaf in changed}
            known |= {row.oid: _Counted(states[row.oid], row.n) for row in warehouse.rows(union)}
        self._known[warehouse] = known
        counts = dict.fromkeys(TABLES, 0)
        for leaf in leaves:
            counts[leaf.name] += known[leaf.oid].rows
        return counts


def _same(counted: _Counted | None, state: str) -> bool:
    return counted is not None and counted.state == state

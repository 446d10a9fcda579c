"""What is generated from the catalogue of indicators and committed is what the catalogue says now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.indicators.catalogue import COLUMNS
from quantmatrix_pipeline.indicators.document import page
from quantmatrix_pipeline.snapshots.rows import SQL_TYPES, added_columns, migration_sql
from quantmatrix_pipeline.warehouse.migrations import folder

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_of_the_indicators_is_the_catalogue() -> None:
    assert (ROOT / "docs" / "indicators.md").read_text() == page()


def test_the_migrations_add_the_columns_of_the_catalogue_and_no_others() -> None:
    assert added_columns(folder()) == {column.name: SQL_TYPES[column.kind] for column in COLUMNS}


def test_what_no_migration_adds_yet_is_printed_and_then_is_there(tmp_path: Path) -> None:
    first = tmp_path / "0001_indicator_columns.sql"
    first.write_text(migration_sql(tmp_path).replace("    ADD COLUMN rsi double precision,\n", ""))
    second = migration_sql(tmp_path)
    assert re.findall(r"ADD COLUMN .*", second) == ["ADD COLUMN rsi double precision;"] * 2
    (tmp_path / "0002_indicator_columns_rsi.sql").write_text(second)
    assert migration_sql(tmp_path) == ""
    assert added_columns(tmp_path) == added_columns(folder())


def test_a_column_that_only_one_of_the_tables_gets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_indicator_columns.sql").write_text(
        "ALTER TABLE market_analysis_cache\n    ADD COLUMN rsi text;\n"
    )
    with pytest.raises(ConfigurationError, match=r"different columns: \[\('rsi', 'text'\)\]"):
        added_columns(tmp_path)

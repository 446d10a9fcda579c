"""What is generated from the catalogue of indicators and committed is what the catalogue says now."""

from __future__ import annotations

from pathlib import Path

from quantmatrix_pipeline.indicators.document import page
from quantmatrix_pipeline.snapshots.rows import migration_sql
from quantmatrix_pipeline.warehouse.migrations import folder

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_of_the_indicators_is_the_catalogue() -> None:
    assert (ROOT / "docs" / "indicators.md").read_text() == page()


def test_the_migration_that_adds_the_indicator_columns_is_the_catalogue() -> None:
    assert (folder() / "0004_indicator_columns.sql").read_text() == migration_sql()

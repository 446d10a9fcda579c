"""What to tell people of a check that failed."""

from __future__ import annotations

from collections.abc import Mapping

from dagster import MetadataValue, TableMetadataValue

from quantmatrix_pipeline.resources.causes import LONGEST


def found(metadata: Mapping[str, MetadataValue]) -> str:
    """Return on one line what a check found: its plain values, and the first row of each table that is not empty."""
    plain = {name: v.value for name, v in metadata.items() if isinstance(v.value, str | int | float)}
    told = [f"{name}={value}" for name, value in plain.items() if value != "none"]
    for value in metadata.values():
        if isinstance(value, TableMetadataValue) and value.records:
            row = ", ".join(f"{k} {v}" for k, v in value.records[0].data.items() if v is not None)
            told.append(f"e.g. {row}")
    return ", ".join(told)[:LONGEST]

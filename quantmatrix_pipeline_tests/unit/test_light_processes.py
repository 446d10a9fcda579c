"""What stands by for hours holds nothing that it does not need: libraries of tens of megabytes each."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("pandas", "pyarrow", "polars", "adbc_driver_postgresql", "exchange_calendars", "pandera", "numba")


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("quantmatrix_pipeline.cli.main", (*HEAVY, "dagster")),
        ("quantmatrix_pipeline.cli.up", (*HEAVY, "dagster")),
        ("quantmatrix_pipeline.resources.dagster_storage", HEAVY),  # in Dagster's web server and daemon
        ("quantmatrix_pipeline.definitions", ("numba",)),
    ],
)
def test_a_module_does_without_what_only_others_need(module: str, without: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert set(without).isdisjoint(loaded.stdout.split())
    assert module in loaded.stdout.split()

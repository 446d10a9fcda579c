"""Kernels: each is compiled once, for one kind of arrays, when it is first called, and kept where that is possible."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pytest

from quantmatrix_pipeline import indicators
from quantmatrix_pipeline.indicators.__main__ import compile_all
from quantmatrix_pipeline.indicators.compiled import _Kernel, compiled
from quantmatrix_pipeline.indicators.engine import compute, last_rows
from quantmatrix_pipeline_tests.unit.indicators.panels import real_panel


def _kernels() -> list[_Kernel[...]]:
    modules = [import_module(f"{indicators.__name__}.{module.name}") for module in iter_modules(indicators.__path__)]
    return [value for module in modules for value in vars(module).values() if isinstance(value, _Kernel)]


def test_one_command_compiles_every_kernel_and_nothing_is_compiled_again_later() -> None:
    compile_all()
    assert [kernel.__name__ for kernel in _kernels() if kernel._machine_code is None] == []
    panel = real_panel(5, missing=0.1)
    compute(panel)
    last_rows(panel.select(np.array([4, 0, 2])))
    versions = {kernel.__qualname__: len(kernel._machine_code.signatures) for kernel in _kernels()}  # type: ignore[union-attr]
    # Written for any number of windows at once, and compiled for each such number.
    assert {name: count for name, count in versions.items() if count > 1} == {"_reduce": 4, "_complete": 2}


def test_who_computes_nothing_loads_no_compiler() -> None:
    code = "import sys, quantmatrix_pipeline.indicators.engine; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_where_nothing_can_be_kept_the_kernel_works_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a user without a home, on a read-only installation: here the file is only said to be somewhere else."""
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    kernel = compiled(_double)
    values = np.array([1.0, 2.0])
    kernel(values)
    assert values.tolist() == [2.0, 4.0]


def _double(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    for i in range(len(values)):
        values[i] *= 2.0

"""Kernels: each is compiled once, for one kind of arrays, when it is first called, and kept where that is possible."""

from __future__ import annotations

import os
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
from quantmatrix_pipeline.indicators.cross_section import CrossSection
from quantmatrix_pipeline.indicators.engine import compute, last_rows
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline_tests.unit.indicators.panels import real_panel


def _kernels() -> list[_Kernel[...]]:
    modules = [import_module(f"{indicators.__name__}.{module.name}") for module in iter_modules(indicators.__path__)]
    return [value for module in modules for value in vars(module).values() if isinstance(value, _Kernel)]


def _versions() -> dict[str, int]:
    """How many kinds of arguments each kernel is compiled for."""
    compiled_for = {kernel.__qualname__: kernel._machine_code for kernel in _kernels()}
    return {name: len(code.signatures) if code else 0 for name, code in compiled_for.items()}  # type: ignore[attr-defined]


def test_one_command_compiles_every_kernel_and_nothing_is_compiled_again_later() -> None:
    compile_all()
    before = _versions()
    assert min(before.values()) > 0
    panel = real_panel(5, missing=0.1)
    compute(panel)
    last_rows(panel.select(np.array([4, 0, 2])))
    CrossSection.of_newest(panel)
    assert _versions() == before


@pytest.mark.slow
def test_no_kernel_reaches_beyond_its_arrays(tmp_path: Path) -> None:
    """Compiled with a check of each index: nothing else would tell of one that is wrong."""
    checked = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], env=checked, capture_output=True, text=True, check=False)

    tests = [str(Path(__file__).with_name(f"test_{name}.py")) for name in ("same_bits", "cross_section", "events")]
    done = python("-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *tests)
    assert done.returncode == 0, done.stdout
    beyond = python("-c", f"import numpy as np; from {__name__} import double_one; double_one(np.ones(2), 2)")
    assert "IndexError" in beyond.stderr, "without this the check would prove nothing"


def test_where_nothing_can_be_kept_the_kernel_works_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user without a home, on a read-only installation."""
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    kernel = compiled(_double)
    values = np.array([1.0, 2.0])
    kernel(values, 1)
    assert values.tolist() == [1.0, 4.0]


def _double(values: Floats, place: int) -> None:
    values[place] *= 2.0


double_one = compiled(_double)

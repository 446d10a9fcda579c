"""`python -m quantmatrix_pipeline.indicators` compiles every kernel, so that the first night does not have to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quantmatrix_pipeline.indicators.benchmark import Benchmark
from quantmatrix_pipeline.indicators.cross_section import CrossSection
from quantmatrix_pipeline.indicators.engine import compute
from quantmatrix_pipeline.indicators.panel import Panel


def compile_all() -> None:
    """Compute every column and rank of two instruments of two bars, one of them split."""
    session = np.array(["2024-01-02", "2024-01-03"] * 2, "datetime64[D]")
    opening, high, low, close, volume = (np.full(4, value) for value in (2.0, 3.0, 1.0, 2.0, 100.0))
    unit = np.array([1.0, 1.0, 1.0, 2.0])
    panel = Panel.from_rows(np.array([1, 1, 2, 2]), session, opening, high, low, close, volume, unit)
    panel = replace(panel, benchmark=Benchmark.of_instrument(panel, 0), sector=np.zeros(2, np.int32))
    compute(panel)
    CrossSection.over_sessions(panel, session[0])


if __name__ == "__main__":
    compile_all()

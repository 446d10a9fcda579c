"""Processes of tests that are forked from one that has imported what they need, which for each would take seconds.

Python has one such server per process, and the last list of imports that it is told is the one that counts: so it is
told here, for all tests.
"""

from __future__ import annotations

import multiprocessing

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "quantmatrix_pipeline_tests.faults.chain",
        "quantmatrix_pipeline_tests.faults.preloaded",
        "quantmatrix_pipeline_tests.warehouse.hammer",
    ]
)

"""Run the job that records history over a range of sessions as a process of its own; print what it took as JSON."""

from __future__ import annotations

import json
import sys
import time

from dagster import DagsterInstance

from quantmatrix_pipeline.dagster_client.session_tags import range_tags
from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.job_names import RECORD
from quantmatrix_pipeline.resources.dagster_home import use_dagster_home
from quantmatrix_pipeline.settings import load


def main() -> None:
    """Run the job of the warehouse that the environment names, from the first argument's session to the second's."""
    use_dagster_home(load())
    job = build_defs().resolve_job_def(RECORD)
    first, last = sys.argv[1:3]
    tags = range_tags(first, last)
    with DagsterInstance.get() as instance:
        started = time.perf_counter()
        result = job.execute_in_process(
            instance=instance,
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        wall = time.perf_counter() - started
    if not result.success:
        raise QuantMatrixError(f"the job {RECORD} failed")
    events = result.get_asset_materialization_events()
    metadata = events[0].materialization.metadata
    found = {
        "wall": wall,
        "work": metadata["seconds"].value,
        "recorded": metadata["recorded"].value,
        "events": len(events),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()

"""Tick every sensor of the definitions some times in this process, as the code server does, and print the seconds."""

from __future__ import annotations

import json
import sys
import time

from dagster import DagsterInstance, build_sensor_context

from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.resources.dagster_home import prepare
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.settings import load


def main() -> None:
    """Print an object: sensor -> the seconds of each tick but the first, and what the last one said."""
    repeats = int(sys.argv[1])
    prepare(load())
    found: dict[str, dict[str, object]] = {}
    repository = build_defs().get_repository_def()
    with DagsterInstance.get() as instance:
        for sensor in repository.sensor_defs:
            seconds = []
            for _ in range(repeats + 1):
                began = time.perf_counter()
                with build_sensor_context(
                    instance=instance,
                    repository_def=repository,
                    sensor_name=sensor.name,
                    resources={"platform": Platform()},
                ) as context:
                    said = sensor.evaluate_tick(context)
                seconds.append(time.perf_counter() - began)
            found[sensor.name] = {
                "seconds": seconds[1:],
                "said": "launches" if said.run_requests else said.skip_message or "looked",
            }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()

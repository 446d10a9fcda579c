"""The jobs of a set of definitions, as far as the entries of the schedules file must fit them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dagster import AssetsDefinition, DagsterInvalidConfigError, Definitions, JobDefinition, validate_run_config
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from quantmatrix_pipeline.automation.jobs.tags import AnyJob
from quantmatrix_pipeline.dagster_client import one_line
from quantmatrix_pipeline.schedules.jobs import Config, Job


def known(definitions: Definitions) -> dict[str, Job]:
    """Return the jobs by name.

    Nothing is resolved that Dagster would resolve again, which takes as long as all else that a code location loads; a
    job is, when somebody asks about a configuration of it.
    """
    made = [*(definitions.assets or ()), *(definitions.asset_checks or ())]
    graph = AssetGraph.from_assets([each for each in made if isinstance(each, AssetsDefinition)])

    def takes_sessions(job: AnyJob) -> bool:
        if isinstance(job, JobDefinition):
            return job.partitions_def is not None
        return any(graph.get(key).is_partitioned for key in job.selection.resolve(graph))

    return {
        job.name: Job.of(_tags(job), takes_sessions(job), _wrong_with(definitions, job.name))
        for job in definitions.jobs or ()
    }


def _tags(job: AnyJob) -> Mapping[str, str]:
    return {name: str(value) for name, value in (job.tags or {}).items()}


def _wrong_with(definitions: Definitions, job: str) -> Callable[[Config], list[str]]:
    def wrong_with(config: Config) -> list[str]:
        try:
            validate_run_config(definitions.resolve_job_def(job), config)
        except DagsterInvalidConfigError as error:
            return [one_line(fault.message) for fault in error.errors]
        return []

    return wrong_with

"""Whose a run is: of what broke in it, else of all that it makes; jobs without assets are the project's."""

import time

import pytest
from dagster import (
    AssetExecutionContext,
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    Definitions,
    asset,
    define_asset_job,
    job,
    op,
)
from dagster._core.events import JobFailureData

from quantmatrix_pipeline.assets.declare import OWNER
from quantmatrix_pipeline.automation.runs import reports


@asset(owners=["team:one"])
def one() -> None: ...


@asset(owners=["team:two", "me@example.com"], deps=[one])
def two(context: AssetExecutionContext) -> None:
    if context.run.tags.get("fails"):
        raise RuntimeError("no disk")


@job
def chore() -> None:
    @op
    def sweep() -> None: ...

    sweep()


REPOSITORY = Definitions(assets=[one, two], jobs=[define_asset_job("both", ["one", "two"]), chore]).get_repository_def()


def owners(instance: DagsterInstance, run_id: str) -> tuple[str, ...]:
    found = reports.report(instance, run_id, REPOSITORY, time.time())
    assert found is not None
    return found.owners


def ran(instance: DagsterInstance, name: str, **more: object) -> str:
    return REPOSITORY.get_job(name).execute_in_process(instance=instance, raise_on_error=False, **more).run_id  # type: ignore[arg-type]


def test_a_run_is_of_who_owns_what_broke_else_of_who_owns_what_it_makes() -> None:
    with DagsterInstance.ephemeral() as instance:
        assert owners(instance, ran(instance, "both")) == ("me@example.com", "team:one", "team:two")
        assert owners(instance, ran(instance, "both", asset_selection=[one.key])) == ("team:one",)
        assert owners(instance, ran(instance, "both", tags={"fails": "true"})) == ("me@example.com", "team:two")
        assert owners(instance, ran(instance, "chore")) == (OWNER,)


@pytest.mark.parametrize("ends", [True, False])
def test_one_without_a_failed_step_is_of_all_whose_it_makes(ends: bool) -> None:
    with DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(REPOSITORY.get_job("both"))
        instance.report_dagster_event(DagsterEvent(DagsterEventType.RUN_START.value, "both"), run.run_id)
        if ends:  # as Dagster ends one at its timeout, and one whose process has died
            data = JobFailureData(error=None, failure_reason=None)
            event = DagsterEvent(DagsterEventType.RUN_FAILURE.value, "both", event_specific_data=data)
            instance.report_dagster_event(event, run.run_id)
        assert owners(instance, run.run_id) == ("me@example.com", "team:one", "team:two")

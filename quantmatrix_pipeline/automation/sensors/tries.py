"""What the sensors that launch backfills share: how a set is tried, and what became of a run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from dagster import DagsterInstance, DagsterRunStatus, RunRequest, RunsFilter, SensorResult, SkipReason

from quantmatrix_pipeline.automation.jobs.sessions import ONE_AT_A_TIME
from quantmatrix_pipeline.coverage.attempts import Attempts, Outcome, Step, beat, fingerprint
from quantmatrix_pipeline.job_names import REFRESH_COVERAGE
from quantmatrix_pipeline.resources.platform import Platform

UNDER_WAY = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


class Look:
    """One tick of a sensor: it is alive, and goes on from what its cursor remembers."""

    def __init__(
        self, sensor: str, platform: Platform, instance: DagsterInstance, cursor: str | None, now: datetime
    ) -> None:
        self.attempts = Attempts.parse(cursor)
        self._sensor = sensor
        self._platform = platform
        self._instance = instance
        self._now = now
        beat(platform.warehouse, sensor, self.attempts, now)

    def decide(self, session: date, things: Sequence[str], told: str, launch: RunRequest) -> SensorResult | SkipReason:
        """Launch a run about a set of things, or say why not; one that is given up is shown by the coverage's check.

        Parameters
        ----------
        session
            In which attempts are counted.
        things
            Symbols or sessions, sorted.
        told
            What is the matter with them.
        launch
            The run, whose key is given here.
        """
        what = fingerprint(session, things)
        step, why = self.attempts.next_step(
            session,
            what,
            self._now,
            outcome(self._instance, self.attempts.run_key(self._sensor)),
            cooldown=timedelta(minutes=self._platform.settings.stale_cooldown_minutes),
            most=self._platform.settings.stale_tries,
        )
        if step is Step.WAIT:
            return SkipReason(f"{told}; {why}")
        if step is Step.GIVE_UP:
            attempts = self.attempts.given_up(why)
            beat(self._platform.warehouse, self._sensor, attempts, self._now)
            tell = RunRequest(
                run_key=f"{self._sensor}-gave-up-{session}", job_name=REFRESH_COVERAGE, partition_key=str(session)
            )
            return SensorResult(run_requests=[tell], cursor=str(attempts))
        if out_of_calls := self._platform.out_of_calls():
            return SkipReason(f"{told}; postponed: {out_of_calls}")
        attempts = self.attempts.launched(session, what, self._now)
        beat(self._platform.warehouse, self._sensor, attempts, self._now)
        run = launch._replace(run_key=attempts.run_key(self._sensor))
        return SensorResult(run_requests=[run], cursor=str(attempts))


def outcome(instance: DagsterInstance, run_key: str) -> Outcome:
    """Return what became of the run that was launched under a key."""
    found = instance.get_runs(RunsFilter(tags={"dagster/run_key": run_key}), limit=1)
    if not found:
        return Outcome.UNKNOWN
    status = found[0].status
    if status in UNDER_WAY:
        return Outcome.UNDER_WAY
    return Outcome.SUCCESS if status is DagsterRunStatus.SUCCESS else Outcome.FAILURE


def chain_under_way(instance: DagsterInstance) -> bool:
    """Tell whether a run of the chain, or another of those that go one at a time, waits or runs."""
    return instance.get_runs_count(RunsFilter(tags=ONE_AT_A_TIME, statuses=UNDER_WAY)) > 0

"""What the sensors that launch backfills share: how a set of things is tried."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from dagster import DagsterInstance, RunRequest, SensorResult, SkipReason

from quantmatrix_pipeline.automation.runs.under_way import outcome
from quantmatrix_pipeline.coverage.attempts import Attempts, Step, beat, fingerprint
from quantmatrix_pipeline.job_names import REFRESH_COVERAGE
from quantmatrix_pipeline.resources.platform import Platform


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

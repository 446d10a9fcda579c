"""What the settings, the environment and the schedules file look like at this moment, without changing anything."""

from __future__ import annotations

from quantmatrix_pipeline.api.models.operations import Component
from quantmatrix_pipeline.health import machine
from quantmatrix_pipeline.health.finding import Finding, bad, ok
from quantmatrix_pipeline.schedules.file import look
from quantmatrix_pipeline.schedules.jobs import Jobs
from quantmatrix_pipeline.settings import Reading, Settings


def findings(reading: Reading, in_force: Settings, jobs: Jobs) -> dict[str, Component]:
    """Return what was found by what was looked at; details may name paths and variables, never their secrets.

    Parameters
    ----------
    reading
        What reading the settings now came to.
    in_force
        The settings in force, which name the schedules file while those that were read are wrong.
    jobs
        The jobs that there are, one of which must bear what each schedule says of it.
    """
    looked_at = [_settings(reading), machine.environment(), look(reading.settings or in_force, jobs)]
    return {f.what: Component(state=f.state.value, detail=f.detail) for f in looked_at}


def _settings(reading: Reading) -> Finding:
    if reading.faults:
        return bad("settings", f"{'; '.join(reading.faults)}; what was read before stays in force")
    return ok("settings", f"in force from {reading.file or 'the environment alone'}")

"""Runs on Celery workers, for `deploy/celery/dagster.yaml`: the broker is the Redis that settings name, so that no file
and no command line holds its address or password.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_celery.config import DEFAULT_CONFIG
from dagster_celery.defaults import broker_transport_options, task_default_queue
from dagster_celery.launcher import CeleryRunLauncher

from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.settings import load

# For so long a task may lie in a worker's reserve before Redis hands it to another one: longer than any run may take.
VISIBILITY_SECONDS = 6 * 3600

CELERY: Mapping[str, Any] = {
    **DEFAULT_CONFIG,
    "broker_transport_options": {**broker_transport_options, "visibility_timeout": VISIBILITY_SECONDS},
    "broker_connection_retry_on_startup": True,
    "task_track_started": True,  # else run monitoring can't tell a run that waits from one whose worker is gone
    "result_expires": 24 * 3600,
}


def broker() -> str:
    """Return the URL of the Redis that carries the tasks.

    Raises
    ------
    ConfigurationError
        QM_REDIS_URL is not set.
    """
    url = load().redis_url
    if url is None:
        raise ConfigurationError(
            "Celery workers take their runs from Redis: set QM_REDIS_URL, the same for all processes"
        )
    return url.get_secret_value()


class RedisCeleryRunLauncher(CeleryRunLauncher):
    """Dagster's `CeleryRunLauncher` over the Redis of QM_REDIS_URL."""

    @classmethod
    def config_type(cls) -> Any:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> RedisCeleryRunLauncher:
        address = broker()
        return cls(
            default_queue=task_default_queue,
            broker=address,
            backend=address,
            config_source=dict(CELERY),
            inst_data=inst_data,
        )

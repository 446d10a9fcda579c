"""What a Celery worker runs: `celery -A quantmatrix_pipeline.resources.celery_worker worker -Q dagster`.

Only that command imports this; it reads the settings when it does.
"""

from __future__ import annotations

from celery import Celery
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

from quantmatrix_pipeline.resources.celery_launcher import CELERY, broker
from quantmatrix_pipeline.resources.dagster_home import use_dagster_home
from quantmatrix_pipeline.settings import load

use_dagster_home(load())
_address = broker()
app: Celery = make_app(  # type: ignore[no-untyped-call]
    app_args={"broker": _address, "backend": _address, "config_source": dict(CELERY)}
)
execute_job = create_execute_job_task(app)
resume_job = create_resume_job_task(app)

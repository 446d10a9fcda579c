"""Puts the read API together: routers, problems, the warehouse's door, the OpenAPI document."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi

from quantmatrix_pipeline import __version__
from quantmatrix_pipeline.api import problems
from quantmatrix_pipeline.api.door import Door
from quantmatrix_pipeline.api.parameters import known_parameters
from quantmatrix_pipeline.api.routes import (
    admin,
    bars,
    coverage,
    differences,
    health,
    indexes,
    indicators,
    metrics,
    ops,
    schedules,
    snapshots,
    status,
    symbols,
    vendors,
)
from quantmatrix_pipeline.settings import Reloading, Settings
from quantmatrix_pipeline.warehouse.engine import Warehouse

DESCRIPTION = """\
Stored market data: bars with their quality, indicators, their recorded history, and how complete all of it is.

* Reads only, from the warehouse only: no route asks a vendor or computes what is not derived from the rows it returns.
  Those tagged `admin` apart: they change things, and take a key (`QM_ADMIN_API_KEYS`) in the header `X-API-Key`.
* Where rows are many, `Accept: text/csv` and `application/vnd.apache.arrow.stream` are served besides JSON.
* Every body has an `ETag`; send it back as `If-None-Match` and get 304 while nothing changed.
* Errors are `application/problem+json`. A parameter that a route does not know is refused, not ignored.
"""


def create_app(settings: Settings | Reloading | None = None, warehouse: Warehouse | None = None) -> FastAPI:
    """Return the read API.

    Parameters
    ----------
    settings
        Read from the environment, and again when their file changes, when not given; fixed ones stay as they are.
    warehouse
        An open one to read from; it stays open. When not given, the settings' is opened with a reader's rights at
        start-up, looked for again whenever it was lost, and closed at shutdown.
    """
    source = settings or Reloading()
    at_start = source.current() if isinstance(source, Reloading) else source
    door = Door(at_start, warehouse)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await to_thread.run_sync(door.open)
        yield
        await to_thread.run_sync(door.close)

    app = FastAPI(title="QuantMatrix pipeline", version=__version__, description=DESCRIPTION, lifespan=lifespan)
    app.state.door = door
    app.state.settings = at_start
    app.state.settings_source = source
    problems.install(app)
    app.get("/", include_in_schema=False)(front_door)
    app.include_router(health.router)
    app.include_router(vendors.router, dependencies=[Depends(known_parameters)])
    app.include_router(ops.router, dependencies=[Depends(known_parameters)])
    app.include_router(metrics.router)
    v1 = APIRouter(prefix="/api/v1")
    for resource in (status, symbols, indexes, bars, indicators, coverage, differences):
        v1.include_router(resource.router, dependencies=[Depends(known_parameters)])
    v1.include_router(admin.router, dependencies=[Depends(known_parameters)])
    v1.include_router(schedules.router, dependencies=[Depends(known_parameters)])
    v1.include_router(snapshots.router)  # the screen reads its parameters itself
    app.include_router(v1)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def front_door() -> dict[str, str]:
    """Say to whoever asks for the bare address what this is and where to go on."""
    return {
        "name": "QuantMatrix pipeline",
        "version": __version__,
        "routes": "/openapi.json",
        "pages": "/docs",
        "health": "/health",
        "status": "/api/v1/status",
    }


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with the body that every failure has."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schema = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        document["components"]["schemas"] |= schema.pop("$defs") | {"Problem": schema}
        app.openapi_schema = document
    return app.openapi_schema

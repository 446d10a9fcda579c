"""The door of the routes that change things: who may enter, and under which name."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader

from quantmatrix_pipeline.api.parameters import CurrentSettings
from quantmatrix_pipeline.api.problems import RequestError
from quantmatrix_pipeline.dagster_client import Dagster

HEADER = "X-API-Key"

_KEY = APIKeyHeader(name=HEADER, auto_error=False, description="one of the keys in QM_ADMIN_API_KEYS")


async def _admin(in_force: CurrentSettings, key: Annotated[str | None, Security(_KEY)]) -> str:
    keys = in_force.settings.admin_keys
    if not keys:
        raise RequestError(
            HTTPStatus.FORBIDDEN,
            "admin-routes-off",
            "routes that change things are off: no key is configured; set QM_ADMIN_API_KEYS=name:key (`openssl rand"
            " -hex 24` makes a key) and restart the API, or name the variable in QM_ENV_FILE, which is read again",
        )
    holder = await _holder(in_force, key)
    if holder is None:
        what = "this route takes an admin key" if key is None else "this is none of the admin keys"
        raise RequestError(
            HTTPStatus.UNAUTHORIZED,
            "admin-key-required",
            f"{what}; send one of QM_ADMIN_API_KEYS in the header {HEADER}",
            None,
            **{"WWW-Authenticate": f'ApiKey header="{HEADER}"'},
        )
    return holder


async def _holder(in_force: CurrentSettings, key: Annotated[str | None, Security(_KEY)]) -> str | None:
    given = (key or "").encode()
    # All are compared, each in constant time: how long a refusal takes tells nothing.
    keys = in_force.settings.admin_keys
    found = [name for name, right in keys.items() if hmac.compare_digest(given, right.encode())]
    return found[0] if found else None


async def _dagster(in_force: CurrentSettings) -> Dagster:
    return Dagster.of(in_force.settings)


# The name of whoever holds the key. A route that takes it is one that only those may use who are in QM_ADMIN_API_KEYS;
# so is every route of a router with `dependencies=[AdminOnly]`.
AdminOnly = Depends(_admin)
Admin = Annotated[str, AdminOnly]
# The same where anybody may ask, and who holds a key is told more; None: nobody known.
MaybeAdmin = Annotated[str | None, Depends(_holder)]
RunningDagster = Annotated[Dagster, Depends(_dagster)]

"""Errors as `application/problem+json` (RFC 9457): one body for every failure, never a traceback or a secret."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from quantmatrix_pipeline.errors import (
    ConfigurationError,
    DagsterRefused,
    DagsterUnreachable,
    EmbeddedServerError,
    KnownNoMore,
    MembersUnknown,
    NoSuchRun,
    NoSuchSchedule,
    NotASession,
    QuantMatrixError,
    SchedulesBusy,
    SchedulesInvalid,
    SessionNotClosed,
    UnknownSymbol,
    VendorUnavailable,
    WarehouseUnavailable,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5


class FieldFault(BaseModel):
    """One part of the request that was refused."""

    field: str = Field(description="the query or path parameter")
    message: str = Field(description="what is wrong with it, and what it takes")


class Problem(BaseModel):
    """What went wrong, after RFC 9457."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:quantmatrix:problem:unknown-symbol",
                    "title": "Unknown symbol",
                    "status": 404,
                    "detail": "no instrument bears the symbol 'APPL'; /api/v1/symbols and `qm symbols list` show those "
                    "that are known",
                }
            ]
        },
    )

    type: str = Field(description="identifies the kind of problem")
    title: str = Field(description="the kind of problem in words; the same for all of its kind")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what was asked, what is wrong with it, what to do")
    errors: list[FieldFault] | None = Field(None, description="every refused parameter, where the request was at fault")


class RequestError(QuantMatrixError):
    """A request that can't be answered as it was made.

    Parameters
    ----------
    status
        The HTTP status.
    kind
        Last part of the problem's URN, such as `price-basis`; its title is the same in words.
    detail
        What was asked, what is wrong with it, what to do.
    facts
        Further members of the body.
    headers
        Further headers of the answer.
    """

    def __init__(
        self, status: int, kind: str, detail: str, facts: Mapping[str, Any] | None = None, **headers: str
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.facts = dict(facts or {})
        self.headers = headers


def refused(faults: Sequence[tuple[str, str]]) -> RequestError:
    """Return the 422 for parameters that were refused: (field, message) each."""
    return RequestError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid-request",
        "; ".join(f"{field}: {message}" for field, message in faults),
        {"errors": [{"field": field, "message": message} for field, message in faults]},
    )


def no_intraday_bars(interval: str) -> RequestError:
    """Return the 501 for bars shorter than a day, such as `5m`."""
    return RequestError(
        HTTPStatus.NOT_IMPLEMENTED,
        "no-intraday-bars",
        f"there is no asset of {interval[:-1]}-minute bars yet: only daily bars are fetched and stored (interval 1d;"
        " /api/v1/market-data/admin/coverage/backfill-stale-daily)",
    )


_MEANINGS = {
    304: "The client's copy (If-None-Match) is current.",
    401: "No admin key came with the request, or a wrong one.",
    403: "No admin key is configured here, so nobody may do this.",
    404: "No instrument bears this symbol, or nothing is stored for it yet.",
    406: "None of the accepted media types can be served.",
    409: "The stored prices can't be shown as asked; or Dagster refused what was asked of it.",
    422: "A parameter is unknown, malformed or out of range; the body names it and what it takes.",
    501: "Only daily bars are stored.",
    503: "The database is away, or the Dagster that a route needs, or others change the schedules; repeat the request.",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may answer with these statuses besides 200."""
    body = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": _MEANINGS[status]} | ({} if status == HTTPStatus.NOT_MODIFIED else {"content": body})
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Make every failure of the app a problem body."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(QuantMatrixError, _expected)
    app.add_exception_handler(Exception, _unexpected)


def _response(status: int, kind: str, detail: str, facts: Mapping[str, Any] | None = None, **headers: str) -> Response:
    problem = Problem(
        type=f"urn:quantmatrix:problem:{kind}",
        title=kind.replace("-", " ").capitalize(),
        status=status,
        detail=detail,
        **(facts or {}),
    )
    return Response(problem.model_dump_json(exclude_none=True), status, headers, MEDIA_TYPE)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = []
    for fault in error.errors():
        place, *name = fault["loc"]
        faults.append((".".join(str(part) for part in name) or str(place), fault["msg"].removeprefix("Value error, ")))
    return _expected(request, refused(faults))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    detail = error.detail
    if status is HTTPStatus.NOT_FOUND:
        detail = f"nothing at {request.url.path}; /docs lists the routes"
    elif status is HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method} is not offered at {request.url.path}: all but the admin routes only read"
    kind = status.phrase.lower().replace(" ", "-")
    return _response(status, kind, detail, None, **dict(error.headers or {}))


def _expected(request: Request, error: Exception) -> Response:
    match error:
        case RequestError():
            return _response(error.status, error.kind, str(error), error.facts, **error.headers)
        case UnknownSymbol():
            return _response(HTTPStatus.NOT_FOUND, "unknown-symbol", str(error))
        case KnownNoMore():
            return _expected(request, refused([("as_of", str(error))]))
        case MembersUnknown():
            return _response(HTTPStatus.NOT_FOUND, "members-unknown", str(error))
        case NotASession() | SessionNotClosed():
            return _expected(request, refused([("session", str(error))]))
        case SchedulesInvalid():
            return _expected(request, refused([placed(fault) for fault in error.faults]))
        case SchedulesBusy():
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            return _response(HTTPStatus.SERVICE_UNAVAILABLE, "schedules-busy", str(error), None, **headers)
        case NoSuchSchedule():
            return _response(HTTPStatus.NOT_FOUND, "no-such-schedule", str(error))
        case NoSuchRun():
            return _response(HTTPStatus.NOT_FOUND, "no-such-run", str(error))
        case DagsterRefused():
            return _response(HTTPStatus.CONFLICT, "dagster-refused", str(error))
        case DagsterUnreachable():
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            return _response(HTTPStatus.SERVICE_UNAVAILABLE, "dagster-unreachable", str(error), None, **headers)
        case VendorUnavailable():
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            return _response(HTTPStatus.SERVICE_UNAVAILABLE, "source-unavailable", str(error), None, **headers)
        case WarehouseUnavailable() | EmbeddedServerError() | ConfigurationError():
            # The cause names hosts and accounts: it belongs in the log, not in an answer.
            log.warning("%s: %s", request.url.path, error)
            return _response(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "warehouse-unavailable",
                "the warehouse can't answer just now; try again; the log of this server and `qm doctor` tell the cause",
                None,
                **{"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        case _:
            return _unexpected(request, error)


def placed(fault: str) -> tuple[str, str]:
    """Return the place of a fault in a file, and what is wrong there."""
    place, _, message = fault.partition(": ")
    return place, message


def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s failed", request.url.path, exc_info=error)
    return _response(
        HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", "this is a fault of the server; its log has the particulars"
    )

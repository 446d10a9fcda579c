"""Types that several bodies share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]


KnownAt = Annotated[datetime | None, Field(description="the instant asked for by `as_of`; null: as known now")]


def example(**body: Any) -> ConfigDict:
    """Return the configuration of a model whose OpenAPI schema shows this body."""
    return ConfigDict(json_schema_extra={"examples": [body]})

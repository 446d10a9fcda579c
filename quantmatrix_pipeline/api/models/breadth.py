"""Bodies of `/market/breadth`; the columns are those that are declared for the table."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, Field, create_model

from quantmatrix_pipeline.api.models.common import KnownAt
from quantmatrix_pipeline.api.models.indicators import column_field
from quantmatrix_pipeline.indicators.breadth import BREADTH

_COUNTS: dict[str, Any] = {column.name: column_field(i, column) for i in BREADTH for column in i.columns}
Counts = create_model("Counts", __doc__="Counts over the stocks of one session, and shares in percent.", **_COUNTS)


class _Head(BaseModel):
    session: date
    revision: int = Field(ge=1, description="above 1 for a restatement")
    as_of: datetime = Field(description="when it was counted from what was known")


class _Line(BaseModel):
    advance_decline_line: int = Field(
        description="count: advances minus declines, summed from the first recorded session on"
    )


class Breadth(_Line, Counts, _Head):
    """The breadth of one session, in the newest revision."""


class MarketBreadth(BaseModel):
    """Recorded sessions, ascending."""

    known_at: KnownAt
    count: int
    data: list[Breadth]

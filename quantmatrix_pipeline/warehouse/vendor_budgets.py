"""Calls counted against vendors' limits: `provider_budgets`, `provider_usage`, `provider_days`.

The rules stand in the functions of the migration: one statement, under the vendor's lock, by the server's clock. `at`
stands for that clock in simulations.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from quantmatrix_pipeline.warehouse.engine import Warehouse


def lease(
    warehouse: Warehouse,
    vendor: str,
    *,
    per_second: int | None,
    per_minute: int | None,
    per_day: int | None,
    least: int,
    most: int,
    at: datetime | None = None,
) -> sa.Row[Any]:
    """Charge between `least` and `most` calls if they fit into the limits, else none.

    Returns
    -------
    Row
        granted (calls), tick (where they are charged), seconds (in which they are to be made), retry_in (seconds, where
        none were granted), exhausted (whether that is for the day's allowance).
    """
    return warehouse.rows(
        """
        SELECT granted, tick, seconds, retry_in, exhausted
        FROM lease_calls(:vendor, :per_second, :per_minute, :per_day, :least, :most, CAST(:at AS timestamptz))
        """,
        vendor=vendor,
        per_second=per_second,
        per_minute=per_minute,
        per_day=per_day,
        least=least,
        most=most,
        at=at,
    )[0]


def give_back(warehouse: Warehouse, vendor: str, *, tick: int, by_second: bool, calls: int) -> None:
    """Take calls that were leased at `tick` and not made out of the count."""
    warehouse.scalar(
        "SELECT charge_calls(:vendor, CAST(:tick AS bigint), :by_second, CAST(:calls AS integer))",
        vendor=vendor,
        tick=tick,
        by_second=by_second,
        calls=-calls,
    )


def shrink(
    warehouse: Warehouse,
    vendor: str,
    *,
    per_minute: int | None,
    retry_after: float | None,
    at: datetime | None = None,
) -> None:
    """Note a 429: a pause of `retry_after` seconds or until the next minute begins, and half the limit per minute."""
    warehouse.scalar(
        """
        SELECT shrink_calls(:vendor, CAST(:per_minute AS integer), CAST(:retry_after AS double precision),
                            CAST(:at AS timestamptz))
        """,
        vendor=vendor,
        per_minute=per_minute,
        retry_after=retry_after,
        at=at,
    )


def exhaust(warehouse: Warehouse, vendor: str, *, until: datetime | None, at: datetime | None = None) -> None:
    """Note that a vendor's allowance is used up until an instant, by default the next UTC midnight."""
    warehouse.scalar(
        "SELECT exhaust_calls(:vendor, CAST(:until AS timestamptz), CAST(:at AS timestamptz))",
        vendor=vendor,
        until=until,
        at=at,
    )


def usage(warehouse: Warehouse, vendor: str, at: datetime | None = None) -> sa.Row[Any]:
    """Return what is counted of a vendor; changes nothing.

    Returns
    -------
    Row
        now, scaled_at, blocked_until, exhausted_until (microseconds since 1970; all but now may be None), scale,
        minute and second (calls per bucket), today (calls of the UTC day).
    """
    return warehouse.rows(
        """
        WITH moment AS (SELECT coalesce(CAST(:at AS timestamptz), clock_timestamp()) AS at)
        SELECT CAST(extract(epoch FROM moment.at) * 1000000 AS bigint) AS now,
               coalesce(b.scale, 1) AS scale,
               CAST(extract(epoch FROM b.scaled_at) * 1000000 AS bigint) AS scaled_at,
               CAST(extract(epoch FROM b.blocked_until) * 1000000 AS bigint) AS blocked_until,
               CAST(extract(epoch FROM b.exhausted_until) * 1000000 AS bigint) AS exhausted_until,
               coalesce(d.used, 0) AS today,
               coalesce((SELECT jsonb_object_agg(u.bucket, u.used) FROM provider_usage u
                         WHERE u.vendor = :vendor AND u.span = 'minute'), '{}') AS minute,
               coalesce((SELECT jsonb_object_agg(u.bucket, u.used) FROM provider_usage u
                         WHERE u.vendor = :vendor AND u.span = 'second'), '{}') AS second
        FROM moment
        LEFT JOIN provider_budgets b ON b.vendor = :vendor
        LEFT JOIN provider_days d ON d.vendor = :vendor AND d.day = CAST(moment.at AT TIME ZONE 'UTC' AS date)
        """,
        vendor=vendor,
        at=at,
    )[0]

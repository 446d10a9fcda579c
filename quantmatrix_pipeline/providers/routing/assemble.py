"""From the settings to a router: every vendor with its client, its budget and what is remembered of it."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import redis
from pydantic import SecretStr

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.providers.contract import Vendor
from quantmatrix_pipeline.providers.routing.budget_ledger import Ledger
from quantmatrix_pipeline.providers.routing.budget_memory import MemoryLedger
from quantmatrix_pipeline.providers.routing.budget_postgres import PostgresLedger
from quantmatrix_pipeline.providers.routing.budget_redis import RedisLedger
from quantmatrix_pipeline.providers.routing.limits import Limits
from quantmatrix_pipeline.providers.routing.meter import RunMeter
from quantmatrix_pipeline.providers.routing.overview import VendorView, digest
from quantmatrix_pipeline.providers.routing.policy import Policies
from quantmatrix_pipeline.providers.routing.record import Record
from quantmatrix_pipeline.providers.routing.router import Router
from quantmatrix_pipeline.providers.routing.state import MemoryStore, States, StateStore, WarehouseStore
from quantmatrix_pipeline.providers.routing.time import RealTime
from quantmatrix_pipeline.providers.transport.answers_kept import KeptAnswers
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import (
    alpha_vantage,
    binance,
    coingecko,
    cryptocompare,
    finnhub,
    fmp,
    fred,
    polygon,
    twelve_data,
    wikipedia,
    yahoo,
)
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import vendor_requests
from quantmatrix_pipeline.warehouse.engine import Warehouse

log = logging.getLogger(__name__)

HEALTH_KEY = "providers:health"  # in Redis: a copy for others to read

CONNECT: Mapping[str, Callable[[Access], Vendor]] = MappingProxyType(
    {
        "fmp": fmp.connect,
        "polygon": polygon.connect,
        "twelve_data": twelve_data.connect,
        "finnhub": finnhub.connect,
        "alpha_vantage": alpha_vantage.connect,
        "yfinance": yahoo.connect,
        "binance": binance.connect,
        "coingecko": coingecko.connect,
        "cryptocompare": cryptocompare.connect,
        "fred": fred.connect,
        "wikipedia": wikipedia.connect,
    }
)


def build_router(
    settings: Settings,
    warehouse: Warehouse | None = None,
    *,
    run_id: str | None = None,
    only: Sequence[str] | None = None,
) -> Router:
    """Return a router over all vendors.

    Parameters
    ----------
    settings
        Keys, addresses, budgets, policies.
    warehouse
        Where budgets, circuits, health and the record are shared; None: nothing outlives this router.
    run_id
        Stands in the record.
    only
        The vendors that may be asked, whatever the policies say; None: all of them.
    """
    time = RealTime()
    client = _redis(settings.redis_url)
    kept = KeptAnswers(client) if settings.answer_cache else None
    own = {name: settings.vendor(name) for name in CONNECT}
    store: StateStore = MemoryStore() if warehouse is None else WarehouseStore(warehouse)
    states = States(store, time, {name: key_mark(each.key) for name, each in own.items()})
    meter = RunMeter(states, time)
    vendors = {
        name: connect(
            Access(
                base_url=own[name].base_url or "",
                key=own[name].key,
                meter=meter,
                kept=kept,
                timeout=settings.call_timeout_seconds,
                deadline=settings.call_deadline_seconds,
                reach_days=(settings.polygon_history_days or None) if name == "polygon" else None,
                user_agent=settings.user_agent,
            )
        )
        for name, connect in CONNECT.items()
    }

    def write(record: Record) -> None:
        if warehouse is not None:
            rows, counters = record.rows(), record.counters()
            vendor_requests.write(warehouse, run_id, record.started_at, clock.now(), rows, counters)

    def mirror(views: Sequence[VendorView]) -> None:
        assert client is not None, "there is a copy only where there is a Redis"
        try:
            client.set(HEALTH_KEY, json.dumps(digest(views)))
        except redis.RedisError as error:
            log.warning("Redis did not take %s (%s); the warehouse holds the truth", HEALTH_KEY, type(error).__name__)

    return Router(
        vendors,
        policies(settings) if only is None else Policies.only(only),
        states,
        meter,
        _ledger(warehouse, client, time),
        {name: Limits.parse(each.budget) for name, each in own.items()},
        time,
        missing_keys={
            name: each.key_variable
            for name, each in own.items()
            if each.key_required and each.key is None and each.key_variable is not None
        },
        wait_seconds=settings.budget_wait_seconds,
        allow_override=settings.allow_source_override,
        on_close=write,
        mirror=None if client is None else mirror,
    )


def policies(settings: Settings) -> Policies:
    """Return who may serve what, by the settings.

    Raises
    ------
    ConfigurationError
        A policy names a vendor that is not known.
    """
    try:
        return Policies.build(settings.market_provider_policy, settings.policies)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def key_mark(key: SecretStr | None) -> str | None:
    """Return a short one-way mark by which another key is told from this one; None without a key."""
    if key is None:
        return None
    return hmac.new(b"quantmatrix", key.get_secret_value().encode(), hashlib.sha256).hexdigest()[:12]


@lru_cache(maxsize=1)
def _redis(url: SecretStr | None) -> redis.Redis | None:
    if url is None:
        return None
    return redis.Redis.from_url(url.get_secret_value(), socket_timeout=2, socket_connect_timeout=2)


@lru_cache(maxsize=1)
def _shared_ledger(warehouse: Warehouse, client: redis.Redis) -> RedisLedger:
    """Return the ledger of this process: the read API makes a router per request, and each would wait for a Redis that
    hangs before it knew.
    """
    return RedisLedger(client, PostgresLedger(warehouse))


def _ledger(warehouse: Warehouse | None, client: redis.Redis | None, time: RealTime) -> Ledger:
    if warehouse is None:
        return MemoryLedger(time)
    return PostgresLedger(warehouse) if client is None else _shared_ledger(warehouse, client)

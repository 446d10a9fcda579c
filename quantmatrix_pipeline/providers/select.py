"""Which source serves, and why: from the settings to a provider and the sources of index members."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from quantmatrix_pipeline.errors import ConfigurationError, VendorUnavailable
from quantmatrix_pipeline.providers.contract import Capability, MemberSource, Provider
from quantmatrix_pipeline.providers.routing.assemble import build_router, policies
from quantmatrix_pipeline.providers.routing.router import Router
from quantmatrix_pipeline.providers.vendors import yahoo
from quantmatrix_pipeline.providers.vendors.files import FilesProvider
from quantmatrix_pipeline.providers.vendors.sample import SampleProvider
from quantmatrix_pipeline.settings import Settings, Source
from quantmatrix_pipeline.warehouse import bars
from quantmatrix_pipeline.warehouse.engine import Warehouse

PROBE_SECONDS = 4.0  # how long `auto` waits for Yahoo before it takes the sample
PROBE_KEPT_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Selection:
    """The source of bars and the reason why it was chosen, for people."""

    provider: Provider
    reason: str


def build(settings: Settings, warehouse: Warehouse | None = None, *, run_id: str | None = None) -> Selection:
    """Return the source that `QM_SOURCE` names; for `auto` the first of files, vendors and the sample that can serve.

    Parameters
    ----------
    settings
        What is set.
    warehouse
        Where vendors' budgets and circuits are shared; None: only to look.
    run_id
        Stands in the record of what vendors were asked.

    Raises
    ------
    ConfigurationError
        If the source needs a setting or an extra that is not there, or its declaration is wrong.
    """
    match settings.source:
        case Source.FILES:
            if settings.files_dir is None:
                raise ConfigurationError("QM_SOURCE=files needs QM_FILES_DIR, the folder that holds source.toml")
            return Selection(FilesProvider(settings.files_dir), f"QM_SOURCE=files, {settings.files_dir}")
        case Source.VENDORS:
            return Selection(build_router(settings, warehouse, run_id=run_id), f"QM_SOURCE=vendors, {_who(settings)}")
        case Source.YFINANCE:
            router = build_router(settings, warehouse, run_id=run_id, only=("yfinance", "wikipedia"))
            return Selection(router, "QM_SOURCE=yfinance")
        case Source.SAMPLE:
            return Selection(SampleProvider(), "QM_SOURCE=sample")
        case Source.AUTO:
            return _auto(settings, warehouse, run_id)


def build_for(settings: Settings, warehouse: Warehouse, *, run_id: str | None = None) -> Selection:
    """Return the source as `build` does, for those who launch runs or store what it serves.

    Raises
    ------
    VendorUnavailable
        `auto` found nothing but the sample, and the warehouse already holds another source's bars: a network that is
        down for a night must not mix five stocks of 2013 into them.
    ConfigurationError
        As `build`.
    """
    chosen = build(settings, warehouse, run_id=run_id)
    if settings.source is Source.AUTO and isinstance(chosen.provider, SampleProvider):
        others = sorted({vendor for vendor, _, _ in bars.sources(warehouse).values()} - {chosen.provider.name})
        if others:
            raise VendorUnavailable(
                others[0], f"{chosen.reason}, but bars of {', '.join(others)} are stored; run again when it answers"
            )
    return chosen


def _auto(settings: Settings, warehouse: Warehouse | None, run_id: str | None) -> Selection:
    if settings.files_dir is not None:
        return Selection(FilesProvider(settings.files_dir), f"QM_FILES_DIR names {settings.files_dir}")
    if _keyed(settings):
        return Selection(build_router(settings, warehouse, run_id=run_id), _who(settings))
    why = "no QM_FILES_DIR and no vendor's key is set, and Yahoo"
    if _answers(settings.yahoo_base_url, int(time.monotonic() // PROBE_KEPT_SECONDS)):
        return Selection(build_router(settings, warehouse, run_id=run_id), f"{why} answers")
    why += " does not answer"
    try:
        return Selection(SampleProvider(), f"{why}: five stocks until 2013 out of the installed sample")
    except ConfigurationError as error:
        raise ConfigurationError(f"QM_SOURCE=auto finds no source: {why}; {error}") from error


def _bar_vendors(settings: Settings) -> list[str]:
    """Return who may be asked for daily bars: named by a policy, and with its key."""
    of = policies(settings)
    named = dict.fromkeys((*of.of(Capability.GROUPED_BARS), *of.of(Capability.DAILY_BARS)))
    return [name for name in named if settings.vendor(name).usable]


def _keyed(settings: Settings) -> bool:
    return any(settings.vendor(name).key is not None for name in _bar_vendors(settings))


def _who(settings: Settings) -> str:
    return f"bars from {', '.join(_bar_vendors(settings)) or 'nobody: no vendor of the policy has its key'}"


@lru_cache(maxsize=1)
def _answers(base_url: str | None, period: int) -> bool:
    """Ask Yahoo once per process and `period`: sensors come by every minute."""
    return yahoo.answers(base_url, PROBE_SECONDS)


def constituents_sources(
    settings: Settings, provider: Provider, warehouse: Warehouse | None = None, *, run_id: str | None = None
) -> Sequence[MemberSource]:
    """Return the sources of index members, best first: the files where they name any, then the vendors of the policy.

    The sample is for a first look without internet and has none.
    """
    if isinstance(provider, SampleProvider):
        return ()
    own = (provider,) if Capability.CONSTITUENTS in provider.capabilities and not isinstance(provider, Router) else ()
    router = provider if isinstance(provider, Router) else build_router(settings, warehouse, run_id=run_id)
    return (*own, *router.member_sources())

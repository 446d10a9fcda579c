"""Which source serves, and why: from the settings to a provider and the sources of index members."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache

from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.providers.contract import Capability, Provider
from quantmatrix_pipeline.providers.vendors.files import FilesProvider
from quantmatrix_pipeline.providers.vendors.sample import SampleProvider
from quantmatrix_pipeline.providers.vendors.wikipedia import WikipediaProvider
from quantmatrix_pipeline.providers.vendors.yahoo import YahooProvider
from quantmatrix_pipeline.settings import Settings, Source

PROBE_SECONDS = 4.0  # how long `auto` waits for Yahoo before it takes the sample
PROBE_KEPT_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Selection:
    """The source of bars and the reason why it was chosen, for people."""

    provider: Provider
    reason: str


def build(settings: Settings) -> Selection:
    """Return the source that `QM_SOURCE` names, or for `auto` the first of files, Yahoo and the sample that can serve.

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
        case Source.YFINANCE:
            return Selection(_yahoo(settings), "QM_SOURCE=yfinance")
        case Source.SAMPLE:
            return Selection(SampleProvider(), "QM_SOURCE=sample")
        case Source.AUTO:
            return _auto(settings)


def _auto(settings: Settings) -> Selection:
    if settings.files_dir is not None:
        return Selection(FilesProvider(settings.files_dir), f"QM_FILES_DIR names {settings.files_dir}")
    yahoo = _yahoo(settings)
    if _answers(settings.yahoo_base_url, int(time.monotonic() // PROBE_KEPT_SECONDS)):
        return Selection(yahoo, "no QM_FILES_DIR is set, and Yahoo answers")
    why = "no QM_FILES_DIR is set, and Yahoo does not answer"
    try:
        return Selection(SampleProvider(), f"{why}: five stocks until 2013 out of the installed sample")
    except ConfigurationError as error:
        raise ConfigurationError(f"QM_SOURCE=auto finds no source: {why}; {error}") from error


@lru_cache(maxsize=1)
def _answers(base_url: str | None, period: int) -> bool:
    """Ask Yahoo once per process and `period`: sensors come by every minute."""
    return YahooProvider(base_url=base_url).answers(PROBE_SECONDS)


def _yahoo(settings: Settings) -> YahooProvider:
    return YahooProvider(base_url=settings.yahoo_base_url)


def constituents_sources(settings: Settings, provider: Provider) -> tuple[Provider, ...]:
    """Return the sources of index members, best first: the files where they name any, then Wikipedia.

    The sample is for a first look without internet and has none.
    """
    if isinstance(provider, SampleProvider):
        return ()
    wikipedia = WikipediaProvider(settings.wikipedia_base_url, settings.user_agent)
    own = (provider,) if Capability.CONSTITUENTS in provider.capabilities else ()
    return (*own, wikipedia)

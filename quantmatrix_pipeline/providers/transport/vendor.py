"""A vendor that speaks HTTP: its client opened and closed, and what it is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from quantmatrix_pipeline.providers.contract import Capability, Offer, Vendor
from quantmatrix_pipeline.providers.transport.answers_kept import KeptAnswers
from quantmatrix_pipeline.providers.transport.calls import Meter
from quantmatrix_pipeline.providers.transport.http import Http, Key, Refusal


@dataclass(frozen=True, slots=True)
class Access:
    """What the settings and the router hand to a vendor's `connect`.

    Attributes
    ----------
    base_url
        The vendor's address, or a proxy's.
    key
        None where none is set.
    meter
        The budget and the record of calls.
    kept
        Answers that may be served again; None: always ask.
    timeout, deadline
        Seconds for one attempt, and for a call with its retries.
    reach_days
        How many calendar days back the user's plan has history; None: no limit.
    user_agent
        For vendors that refuse anonymous clients.
    """

    base_url: str
    key: SecretStr | None
    meter: Meter
    kept: KeptAnswers | None = None
    timeout: float = 15.0
    deadline: float = 60.0
    reach_days: int | None = None
    user_agent: str = ""

    def http(
        self,
        vendor: str,
        refusal: Refusal,
        *,
        key_name: str | None = None,
        header: bool = False,
        prefix: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Http:
        """Return a client; the key, where there is one, goes into the query or header `key_name`."""
        key = Key(self.key, key_name, header, prefix) if self.key is not None and key_name is not None else None
        return Http(
            vendor,
            self.base_url,
            self.meter,
            refusal,
            key=key,
            headers=dict(headers or {}),
            timeout=self.timeout,
            deadline=self.deadline,
            kept=self.kept,
        )


class HttpVendor(Vendor):
    """A vendor with one HTTP client."""

    def __init__(self, http: Http, offers: Mapping[Capability, Offer]) -> None:
        self.http = http
        self.offers = offers

    async def open(self) -> None:
        await self.http.open()

    async def close(self) -> None:
        await self.http.close()

    async def forget(self, capability: Capability, symbol: str) -> None:
        await self.http.forget(capability, symbol)

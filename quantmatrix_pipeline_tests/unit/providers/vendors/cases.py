"""What each vendor's tests are proved with: recorded traffic, the vendor's documentation, or our own construction.

Every vendor's test module holds `CASES`, one per situation that a client of it meets. `test_provenance.py` sees to it
that none of the situations is left out, and that a vendor without a single recorded answer is called unproved in the
README.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Reply


class Provenance(StrEnum):
    RECORDED = "recorded"  # `source` names the file under shared/data
    DOCUMENTED = "documented"  # shape and text as the vendor's documentation, specification or client writes them
    CONSTRUCTED = "constructed"  # ours


# The situations; a vendor that can't be in one of them has a case that says why in `source`, without replies.
SITUATIONS = (
    "ok",
    "paged",
    "empty",
    "unknown symbol",
    "rate limited",
    "bad key",
    "premium only",
    "error in a 200",
    "truncated",
)


@dataclass(frozen=True)
class Case:
    """One situation of one vendor.

    Attributes
    ----------
    situation
        One of `SITUATIONS`, or another that the vendor is known for.
    replies
        What the server answers, in order; the last one again and again. Empty: the vendor can't be in this situation.
    """

    vendor: str
    situation: str
    provenance: Provenance
    source: str
    replies: tuple[Reply, ...] = ()

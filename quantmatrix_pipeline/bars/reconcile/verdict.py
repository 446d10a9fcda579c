"""Who is believed where two vendors differ. Nothing is averaged: a number that stands is one that somebody reported.

In this order:

    agree        no field differs beyond its tolerance
    convention   the cause is one of `causes.CONVENTIONS`: neither is wrong, the stored bar stands, nobody is blamed
    stored       the second's bar is in doubt by its own numbers (a repeated price, another session's bar, hardly any
                 trades), or a third vendor says what is stored. It counts against the second
    second       the same the other way round. It counts against the stored bar's vendor. The stored bar stands until a
                 person decides: two vendors may copy each other
    open         nobody can tell. It counts against both, and a person decides

A third vendor sides with one of them where it agrees with that one, and not with the other, in every field in which
they differ. Its word goes before what a bar's own numbers suggest.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from quantmatrix_pipeline.bars.batch import Bools, Floats
from quantmatrix_pipeline.bars.reconcile.causes import CONVENTIONS, Cause
from quantmatrix_pipeline.bars.reconcile.classify import Limits
from quantmatrix_pipeline.bars.reconcile.pair import VOLUME, relative
from quantmatrix_pipeline.bars.reconcile.prints import FIRST, NOBODY, SECOND


class Verdict(StrEnum):
    """Who is believed; `absent` is for a bar that the second vendor does not have."""

    AGREE = "agree"
    CONVENTION = "convention"
    STORED = "stored"
    SECOND = "second"
    OPEN = "open"
    ABSENT = "absent"


# A single print is what vendors differ in most, and the wider range may be the true one: own numbers don't decide it.
_DECIDED_BY_ITSELF = frozenset({Cause.REPEATED, Cause.DATE_SHIFT, Cause.THIN})
_OF_SIDE = {NOBODY: Verdict.OPEN, FIRST: Verdict.SECOND, SECOND: Verdict.STORED}


def verdict(cause: Cause, suspect: int, sided: int | None = None) -> Verdict:
    """Return who is believed.

    Parameters
    ----------
    cause, suspect
        As `compare` found them.
    sided
        The side that a third vendor confirms (0 the stored bar, 1 the second), None where it was not asked or does not
        tell.
    """
    if cause is Cause.NONE:
        return Verdict.AGREE
    if cause in CONVENTIONS:
        return Verdict.CONVENTION
    if sided is not None:
        return Verdict.STORED if sided == FIRST else Verdict.SECOND
    return _OF_SIDE[suspect] if cause in _DECIDED_BY_ITSELF else Verdict.OPEN


def sides_with(first: Floats, second: Floats, third: Floats, differs: Bools, limits: Limits) -> int | None:
    """Return whom a third vendor confirms: 0 the first, 1 the second, None neither or both.

    Parameters
    ----------
    first, second, third
        Shape (5,): the three bars, in the same share units.
    differs
        Shape (5,): the fields in which the first two differ.
    """
    limit = np.full(len(first), limits.price)
    limit[VOLUME] = limits.volume
    agrees = []
    for bar in (first, second):
        apart = np.abs(relative(bar[:, None], third[:, None])[:, 0])
        agrees.append(bool((apart <= limit)[differs].all()))
    if agrees[FIRST] == agrees[SECOND]:
        return None
    return FIRST if agrees[FIRST] else SECOND


def against(said: Verdict, vendor: str, second: str) -> tuple[str, ...]:
    """Return the vendors against which a verdict counts."""
    return {Verdict.STORED: (second,), Verdict.SECOND: (vendor,), Verdict.OPEN: (vendor, second)}.get(said, ())

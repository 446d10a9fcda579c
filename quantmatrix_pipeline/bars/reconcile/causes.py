"""Why two sources differ, each cause declared once."""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """The cause of a difference between two sources' bars of one session."""

    NONE = "none"
    SPLIT_VINTAGE = "split_vintage"
    SPIN_OFF = "spin_off"
    DIVIDEND = "dividend_adjustment"
    DATE_SHIFT = "date_shift"
    REPEATED = "repeated_price"
    THIN = "thin_trade"
    ROUNDING = "rounding"
    BAD_PRINT = "bad_print"
    CLOSING = "closing_price"
    VOLUME = "volume_count"
    UNEXPLAINED = "unexplained"


CAUSES = tuple(Cause)  # a bar's cause is kept as its place here

# Neither side is wrong: they adjust by different conventions, or write fewer digits. No vendor is blamed for these.
CONVENTIONS = frozenset({Cause.NONE, Cause.SPIN_OFF, Cause.SPLIT_VINTAGE, Cause.DIVIDEND, Cause.ROUNDING, Cause.VOLUME})

LOOKS_LIKE = {
    Cause.NONE: "the two agree within the tolerances",
    Cause.SPLIT_VINTAGE: "one side counts in other shares up to a day: a split's ratio, or prices and volumes off by"
    " the same odd ratio with no value gone (a consolidation, the share exchange of a merger)",
    Cause.SPIN_OFF: "value left the company (a spin-off, rights, a special dividend), and one side lowered the earlier"
    " prices for it, or both by different factors",
    Cause.DIVIDEND: "one side lowered earlier prices for cash dividends: small steps of one sign, a few months apart",
    Cause.DATE_SHIFT: "one side's bar is the other's bar of another session",
    Cause.REPEATED: "one side repeats a price instead of reporting one: a bar without any range, or an open that is the"
    " close before or the close of its own bar to the digit",
    Cause.THIN: "one side saw hardly any of the trades that the other counts (under 2 % of its volume, or none)",
    Cause.ROUNDING: "one side writes its prices in coarse steps, and the other lies within one of them",
    Cause.BAD_PRINT: "closes agree, and a single trade makes an open, a high or a low on one side only; or a price many"
    " times too high or low",
    Cause.CLOSING: "all but the close agree: the closing auction against the last trade",
    Cause.VOLUME: "prices agree and volumes don't: other venues, late reports or other shares are counted",
    Cause.UNEXPLAINED: "none of these",
}

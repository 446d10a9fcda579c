"""The rules of repair, each declared once: its name, what it looks for, what it does, the formula of its confidence."""

from __future__ import annotations

from dataclasses import dataclass

MIN_CONFIDENCE = 0.9  # below it a repair is only suggested


@dataclass(frozen=True, slots=True)
class RepairRule:
    """One kind of fault.

    Attributes
    ----------
    name
        As stored beside each repair and named in settings and commands.
    looks_for, does, confidence
        For people: the fault, what becomes of the bar, and the formula of the confidence, a number from 0 to 1.
    """

    name: str
    looks_for: str
    does: str
    confidence: str


HUNDREDFOLD = RepairRule(
    "hundredfold",
    "prices a hundred times too high or too low (pence for pounds, a slipped decimal point): single fields, whole bars,"
    " stretches of bars",
    "divides or multiplies those prices by 100; volume stays",
    "1 - the largest move that remains beside the neighbours / log 100; times 0.8 where all of a bar is off and only"
    " one side has neighbours",
)
SPLIT_UNIT = RepairRule(
    "split_unit",
    "a stretch of bars quoted in other shares than the bars on both sides (a split not applied, or applied twice), or"
    " all bars before a known split that were adjusted for it twice or not at all",
    "multiplies prices by the split's ratio and divides volume by it, or the other way round",
    "1 - the largest move that remains at the ends / log of the ratio, and at most 1 - the distance from that ratio /"
    " the gap to the next possible one; times 0.8 where prices declared raw don't move on a known split's ex-date,"
    " since the split may be what is wrong",
)
ZEROED = RepairRule(
    "zeroed",
    "prices that are zero, negative or missing",
    "takes those fields from a second source, the whole bar where the fields don't fit together; without one the bar"
    " stays refused",
    "1 - 10 x the largest relative difference between the sources, over the sound fields of the bar and the closes of"
    " up to three bars on either side: a difference of 1 % costs 0.1",
)
STALE = RepairRule(
    "stale",
    "a bar that repeats the one before it: all prices equal to the previous close without volume, or all five numbers"
    " the same",
    "takes the bar from a second source; without one the bar is withheld, as if the source had none",
    "1 - p^n, where n is the length of the run so far and p = (repeats + 1) / (bars + 2) among up to 50 bars before it;"
    " with a second source at most its confidence as for `zeroed`",
)
JUNK = RepairRule(
    "junk",
    "text where a number should stand: currency signs, thousands separators, a decimal comma, footnote marks, units",
    "reads the number out of the text where its digits are whole; takes the bar from a second source where they are"
    " not",
    "1 - the largest distance of a price read so from the closes on either side / log 10, which is the least error that"
    " a misread separator makes; times 0.8 with neighbours on one side only; with a second source as for `zeroed`",
)
SECOND_OPINION = RepairRule(
    "second_opinion",
    "a stored bar that a second vendor contradicts, and that a third one or its own numbers put in doubt",
    "suggests the second vendor's bar; only a person carries it out",
    "0.8 where a third vendor sides with the second in all that differs, else 0.6",
)
RULES: dict[str, RepairRule] = {
    rule.name: rule for rule in (HUNDREDFOLD, SPLIT_UNIT, ZEROED, STALE, JUNK, SECOND_OPINION)
}

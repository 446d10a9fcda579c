"""Where repair stands on the way of a bar into the warehouse: between what came and its validation.

Found faults are mended where they are sure enough or somebody said so, left as they came where somebody said that, and
noted either way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime

import numpy as np

from quantmatrix_pipeline.bars.batch import FIELDS, BarBatch, Bools, Dates, Floats
from quantmatrix_pipeline.bars.repair.catalogue import SECOND_OPINION
from quantmatrix_pipeline.bars.repair.detect import find_repairs
from quantmatrix_pipeline.bars.repair.finding import Finding
from quantmatrix_pipeline.bars.repair.junk import read_bar
from quantmatrix_pipeline.bars.repair.stretches import KnownSplits
from quantmatrix_pipeline.bars.rules import BarRows
from quantmatrix_pipeline.ingest.rows import Rows
from quantmatrix_pipeline.providers.answers import DailyAnswer, UnreadableRow
from quantmatrix_pipeline.warehouse.repairs import Decided
from quantmatrix_pipeline.warehouse.universe import Tracked

SUGGESTED_FROM = 0.5  # what is less sure is not worth anybody's time
OFF = 1.01  # a confidence that no finding has

_Decisions = Mapping[tuple[int, date, str], Decided]
Texts = Mapping[int, UnreadableRow]  # by row


@dataclass(frozen=True, slots=True)
class Mended:
    """The rows as they go into validation, and what was done to them.

    Attributes
    ----------
    bars
        The rows with repaired prices in their places; withheld ones are marked.
    repaired
        Shape (n,): which rows hold other numbers than came.
    text
        Shape (n,): rows whose numbers were read out of text; where they are not among the repaired, they have none.
    texts
        Row -> the text that its numbers were read out of.
    log
        For `warehouse.repairs`.
    """

    bars: BarRows
    repaired: Bools
    text: Bools
    texts: Texts
    log: list[dict[str, object]]


class Mender:
    """Repairs the parts of one fetch.

    Parameters
    ----------
    at_least
        The confidence from which a repair is carried out; `OFF` for none.
    decisions
        What people decided about faults of these bars before.
    now
        When the faults are found.
    """

    def __init__(self, at_least: float, decisions: _Decisions, now: datetime) -> None:
        self._at_least = at_least
        self._decisions = decisions
        self._now = now

    def mend(self, bars: BarRows, rows: Rows, text: Texts, splits: KnownSplits, adjusted: Bools) -> Mended:
        """Find the faults of a part and mend them.

        Parameters
        ----------
        bars
            New and stored rows, `is_new` telling those to judge.
        rows
            The same rows with what is known of each.
        text
            Row -> the text that its numbers were read out of.
        splits, adjusted
            See `find_repairs`.
        """
        of_text = np.zeros(len(bars), np.bool_)
        of_text[list(text)] = True
        unread = of_text & _twins(bars)
        bars = _without(bars, unread)
        found = self._find(replace(bars, is_new=rows.fetched), splits, adjusted, of_text & ~unread)
        replaced = self._replaced(bars, rows)
        values = {name: getattr(bars, name) for name in FIELDS}
        repaired, withheld = np.zeros(len(bars), np.bool_), np.zeros(len(bars), np.bool_)
        log: list[dict[str, object]] = []
        mended = {name: column.copy() for name, column in values.items()} if found or replaced else values
        for finding in found:
            key = (int(rows.instrument_id[finding.row]), bars.session[finding.row].item(), finding.rule.name)
            past = self._decisions.get(key)
            applied = self._applies(finding, past, values)
            if not applied and (past is not None or finding.confidence < SUGGESTED_FROM):
                continue
            if finding.repaired is None and not rows.fetched[finding.row]:
                continue
            if applied and finding.repaired is None:
                withheld[finding.row] = True
            elif applied and finding.repaired is not None:
                repaired[finding.row] = True
                for name, number in zip(FIELDS, finding.repaired, strict=True):
                    mended[name][finding.row] = number
            source = int(rows.source_id[finding.row])
            log.append(self._row(key, finding, applied, source, values, text.get(finding.row)))
        for row, numbers in replaced.items():
            repaired[row], withheld[row] = True, False
            for name, theirs in zip(FIELDS, numbers, strict=True):
                mended[name][row] = math.nan if theirs is None else theirs
        unread |= of_text & ~repaired
        judged = bars.is_new | repaired
        whole = replace(bars, **mended, is_new=judged, withheld=withheld)
        return Mended(_without(whole, unread), repaired, of_text, text, log)

    def _find(self, bars: BarRows, splits: KnownSplits, adjusted: Bools, text: Bools) -> list[Finding]:
        if self._at_least >= OFF and not text.any():
            return []
        return find_repairs(bars, splits=splits, adjusted=adjusted, text=text)

    def _replaced(self, bars: BarRows, rows: Rows) -> dict[int, tuple[float | None, ...]]:
        """Return row -> another vendor's numbers, of the bars that came as somebody said that those take their place.

        No rule would find these again by what the bars say themselves.
        """
        told = {
            (instrument_id, day): past
            for (instrument_id, day, rule), past in self._decisions.items()
            if rule == SECOND_OPINION.name and past.decision == "apply"
        }
        if not told or self._at_least >= OFF:
            return {}
        days = np.isin(bars.session, np.array([day for _, day in told], "datetime64[D]"))
        values = {name: getattr(bars, name) for name in FIELDS}
        keys = {n: (int(rows.instrument_id[n]), bars.session[n].item()) for n in np.flatnonzero(rows.fetched & days)}
        return {
            int(n): told[key].repaired
            for n, key in keys.items()
            if key in told and _same(told[key].original, values, int(n))
        }

    def _applies(self, finding: Finding, past: Decided | None, values: Mapping[str, Floats]) -> bool:
        if past is not None and _same(past.original, values, finding.row):
            return past.decision == "apply"
        return finding.confidence >= self._at_least

    def _row(
        self,
        key: tuple[int, date, str],
        finding: Finding,
        applied: bool,
        source: int,
        values: Mapping[str, Floats],
        came: UnreadableRow | None,
    ) -> dict[str, object]:
        after = finding.repaired or (None,) * len(FIELDS)
        evidence = dict(finding.evidence) | ({} if came is None else {"text": dict(came.payload)})
        return {
            "instrument_id": key[0],
            "session": key[1],
            "rule": key[2],
            "confidence": finding.confidence,
            "applied": applied,
            "source_id": source,
            **{f"original_{name}": _number(values[name][finding.row]) for name in FIELDS},
            **{f"repaired_{name}": number for name, number in zip(FIELDS, after, strict=True)},
            "evidence": json.dumps(evidence, default=str),
            "found_at": self._now,
        }


def _without(bars: BarRows, rows: Bools) -> BarRows:
    """Return the bars with no numbers in some rows."""
    if not rows.any():
        return bars
    return replace(bars, **{name: np.where(rows, np.nan, getattr(bars, name)) for name in FIELDS})


def _twins(bars: BarRows) -> Bools:
    """Tell which rows share their key with the row before or after: of two that came, text is not the better."""
    same = (bars.instrument_index[1:] == bars.instrument_index[:-1]) & (bars.session[1:] == bars.session[:-1])
    result = np.zeros(len(bars), np.bool_)
    result[1:] |= same
    result[:-1] |= same
    return result


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _same(original: tuple[float | None, ...], values: Mapping[str, Floats], row: int) -> bool:
    """Tell whether a decision was about these very numbers."""
    return original == tuple(_number(values[name][row]) for name in FIELDS)


class TextRows:
    """Bars read out of an answer's unreadable rows, NaN where a cell holds no number.

    A row without symbol, session or cells holds none; of two of one key neither does, nor does one beside a row of that
    key that could be read.
    """

    def __init__(self, answer: DailyAnswer) -> None:
        self._rows: dict[tuple[str, date], UnreadableRow] = {}
        if not answer.unreadable:
            return
        days = {row.session for row in answer.unreadable if row.session is not None}
        twice = _keys(answer.bars, np.array(list(days), "datetime64[D]"))
        for row in answer.unreadable:
            if row.symbol is None or row.session is None or read_bar(row.payload) is None:
                continue
            key = (row.symbol, row.session)
            if key in self._rows:
                twice.add(key)
            self._rows[key] = row
        self._rows = {key: row for key, row in self._rows.items() if key not in twice}

    def beside(self, bars: BarBatch) -> BarBatch:
        """Return the bars with these behind them."""
        if not self._rows:
            return bars
        symbols = tuple(dict.fromkeys(symbol for symbol, _ in self._rows))
        cells = np.array([read_bar(row.payload) for row in self._rows.values()], np.float64)
        batch = BarBatch(
            symbols,
            np.array([symbols.index(symbol) for symbol, _ in self._rows], np.int32),
            np.array([day for _, day in self._rows], "datetime64[D]"),
            *(np.ascontiguousarray(cells[:, k]) for k in range(len(FIELDS))),
        )
        return BarBatch.concat([bars, batch])

    def among(self, rows: Rows, instruments: Mapping[str, Tracked]) -> Texts:
        """Return which of merged rows these are, with the text of each."""
        if not self._rows:
            return {}
        by_id = {(instruments[s].instrument_id, day): row for (s, day), row in self._rows.items() if s in instruments}
        days = np.isin(rows.session, np.array([day for _, day in by_id], "datetime64[D]"))
        at = np.flatnonzero(rows.fetched & days).tolist()
        keyed = {n: (int(rows.instrument_id[n]), rows.session[n].item()) for n in at}
        return {n: by_id[key] for n, key in keyed.items() if key in by_id}

    def unread(self, answer: DailyAnswer, read: Mended) -> DailyAnswer:
        """Return the answer without those of its unreadable rows that could be read after all."""
        good = {id(row) for n, row in read.texts.items() if read.repaired[n]}
        return (
            replace(answer, unreadable=tuple(row for row in answer.unreadable if id(row) not in good))
            if good
            else answer
        )


def _keys(bars: BarBatch, days: Dates) -> set[tuple[str, date]]:
    """Return (symbol, session) of the bars on some days."""
    at = np.flatnonzero(np.isin(bars.session, days))
    symbols = (bars.symbols[place] for place in bars.symbol_index[at])
    return set(zip(symbols, bars.session[at].tolist(), strict=True))

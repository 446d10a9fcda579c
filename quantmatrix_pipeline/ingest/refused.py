"""Rows for the validation log: bars that broke a rule, that two vendors dispute, or that could not be read at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars import rules
from quantmatrix_pipeline.bars.batch import FIELDS, Dates, Floats, Ints
from quantmatrix_pipeline.ingest.rows import Disputed
from quantmatrix_pipeline.providers.answers import DailyAnswer
from quantmatrix_pipeline.warehouse.universe import Tracked

INTERVAL = "1d"
DISPUTED = "another_vendor_says_otherwise"


def refused_bars(
    vendor: str,
    instrument_id: Ints,
    session: Dates,
    values: Mapping[str, Floats],
    reasons: npt.NDArray[np.uint16],
    refused: npt.NDArray[np.intp],
    symbols: Mapping[int, str],
    now: datetime,
) -> list[dict[str, object]]:
    """Return a log row for each of the rows `refused` of these columns; `symbols` is by instrument_id."""
    seen: dict[tuple[object, ...], int] = {}
    log: list[dict[str, object]] = []
    for row in refused:
        known = int(instrument_id[row])
        dated = None if np.isnat(session[row]) else session[row].item()
        payload = _payload(values, row)
        # Repeats of one row in one answer are as many refusals; the number keeps them apart and makes a re-run find
        # them.
        key = (known, dated, *payload.values())
        seen[key] = seen.get(key, 0) + 1
        log.append(
            {
                "vendor": vendor,
                "symbol": symbols[known],
                "instrument_id": known,
                "interval": INTERVAL,
                "session": dated,
                "reason_codes": rules.codes(int(reasons[row])),
                "detail": f"repeat {seen[key]}" if seen[key] > 1 else None,
                "payload": json.dumps(payload),
                "logged_at": now,
            }
        )
    return log


def disputed_bars(
    vendor: str, disputed: Disputed, symbols: Mapping[int, str], now: datetime
) -> list[dict[str, object]]:
    """Return a log row for each bar of which a vendor says something else than the one whose bar is stored."""
    return [
        {
            "vendor": vendor,
            "symbol": symbols[int(disputed.instrument_id[row])],
            "instrument_id": int(disputed.instrument_id[row]),
            "interval": INTERVAL,
            "session": disputed.session[row].item(),
            "reason_codes": [DISPUTED],
            "detail": None,
            "payload": json.dumps(_payload(disputed.values, row)),
            "logged_at": now,
        }
        for row in range(len(disputed.session))
    ]


def _payload(values: Mapping[str, Floats], row: int | np.intp) -> dict[str, float | str | None]:
    return {name: _number(values[name][row]) for name in FIELDS}


def _number(value: float) -> float | str | None:
    """A number as JSON knows it; what JSON lacks is spelled out."""
    return float(value) if math.isfinite(value) else None if math.isnan(value) else str(value)


def unreadable_rows(answer: DailyAnswer, instruments: Mapping[str, Tracked], now: datetime) -> list[dict[str, object]]:
    """Return a log row for each row of an answer that could not be read; `instruments` is by symbol."""
    return [
        {
            "vendor": answer.vendor,
            "symbol": row.symbol,
            "instrument_id": _id_of(row.symbol, instruments),
            "interval": INTERVAL,
            "session": row.session,
            "reason_codes": [row.reason],
            "detail": row.detail,
            "payload": json.dumps(dict(row.payload), default=str),
            "logged_at": now,
        }
        for row in answer.unreadable
    ]


def _id_of(symbol: str | None, instruments: Mapping[str, Tracked]) -> int | None:
    known = instruments.get(symbol) if symbol else None
    return known.instrument_id if known else None

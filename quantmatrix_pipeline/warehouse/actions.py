"""Splits and dividends, append-only, and what was decided on them: `corporate_actions`, `action_verdicts`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

import pyarrow as pa

from quantmatrix_pipeline.warehouse.engine import ArrowTransaction

# A ratio may be one of decimals, such as 1.5 for 1: written as whole numbers, which are exact in any number of digits.
_WHOLE = """LATERAL (
        SELECT power(10::numeric, greatest(scale(trim_scale(numerator)), scale(trim_scale(denominator)))) AS scale
    ) AS whole"""
_SPLITS = f"""
    SELECT instrument_id, ex_date, CAST(numerator * scale AS bigint) AS numerator,
           CAST(denominator * scale AS bigint) AS denominator
    FROM splits_known_at({{known_at}}) CROSS JOIN {_WHOLE}"""
_DIVIDENDS = """
    SELECT d.instrument_id, d.ex_date, CAST(d.amount AS double precision) AS amount
    FROM dividends_known_at({known_at}) d JOIN instruments i USING (instrument_id) WHERE d.currency = i.currency"""


def split_query(known_at: str | None = None) -> str:
    """Return the statement of the splits in force (instrument_id, ex_date, numerator, denominator), open for a WHERE.

    `known_at` is the number of the parameter, such as `$1`, that holds the instant as known at which; None: now.
    """
    return _SPLITS.format(known_at=known_at or "'infinity'")


def dividend_query(known_at: str | None = None) -> str:
    """Return the statement of the dividends in force (instrument_id, ex_date, amount), open for a further AND."""
    return _DIVIDENDS.format(known_at=known_at or "'infinity'")


_SCHEMA = pa.schema(
    [
        ("instrument_id", pa.int32()),
        ("kind", pa.string()),
        ("ex_date", pa.date32()),
        ("numerator", pa.int64()),
        ("denominator", pa.int64()),
        ("amount", pa.string()),  # as text, so that a decimal amount stays what it was
        ("currency", pa.string()),
        ("vendor", pa.string()),
        ("as_of", pa.timestamp("us", "UTC")),
    ]
)
_NAMES = ", ".join(_SCHEMA.names)
_CONTENT = "concat_ws(' ', numerator, denominator, trim_scale(CAST(amount AS numeric)), currency)"


def write_actions(transaction: ArrowTransaction, actions: Iterable[Mapping[str, object]]) -> dict[int, date]:
    """Append corporate actions that are not known yet; return instrument_id -> earliest ex-date of its new splits.

    Each mapping has instrument_id, kind, ex_date, numerator, denominator, amount, currency, vendor, as_of. All that a
    vendor names for one instrument, kind and day is one word of it: where it differs from its last one (a corrected
    amount, a special dividend beside the regular one, a ratio that it returned to), the whole of it is appended.
    """
    rows = list(actions)
    if not rows:
        return {}
    transaction.stage("new_actions", pa.Table.from_pylist(rows, schema=_SCHEMA))
    key = "instrument_id, kind, ex_date, vendor"
    learned = transaction.query(f"""
        WITH said AS (
            SELECT {key}, array_agg(DISTINCT {_CONTENT} ORDER BY {_CONTENT}) AS word FROM new_actions GROUP BY {key}
        ), known AS (
            SELECT {key}, array_agg(DISTINCT {_CONTENT} ORDER BY {_CONTENT}) AS word
            FROM action_claims_known_at('infinity')
            WHERE instrument_id = ANY ((SELECT array_agg(DISTINCT instrument_id) FROM new_actions)::integer[])
            GROUP BY {key}
        ), added AS (
            INSERT INTO corporate_actions ({_NAMES})
            SELECT {_NAMES.replace("amount", "CAST(amount AS numeric)")}
            FROM (SELECT DISTINCT * FROM new_actions) n
            JOIN said USING ({key}) LEFT JOIN known USING ({key})
            WHERE known.word IS DISTINCT FROM said.word
            ORDER BY instrument_id, ex_date, kind ON CONFLICT DO NOTHING
            RETURNING instrument_id, kind, ex_date
        )
        SELECT instrument_id, min(ex_date) AS ex_date FROM added WHERE kind <> 'cash_dividend' GROUP BY instrument_id
    """)
    transaction.execute("DROP TABLE new_actions")
    return dict(zip(learned["instrument_id"].to_pylist(), learned["ex_date"].to_pylist(), strict=True))


def split_claims(transaction: ArrowTransaction, instrument_ids: Sequence[int] | None = None) -> pa.Table:
    """Return the splits and stock dividends that vendors stand by, of some instruments or of all.

    The columns are action_id, instrument_id, ex_date, numerator, denominator, vendor and, of the newest verdict,
    in_force, reason and rivals (null without one), sorted by instrument, ex-date and action.
    """
    among = "" if instrument_ids is None else f" AND c.instrument_id = ANY ('{_array(instrument_ids)}'::integer[])"
    return transaction.query(f"""
        SELECT c.action_id, c.instrument_id, c.ex_date, CAST(c.numerator * scale AS bigint) AS numerator,
               CAST(c.denominator * scale AS bigint) AS denominator, c.vendor, v.in_force, v.reason, v.rivals
        FROM action_claims_known_at('infinity') c CROSS JOIN {_WHOLE}
        LEFT JOIN LATERAL (
            SELECT * FROM action_verdicts v WHERE v.action_id = c.action_id ORDER BY v.verdict_id DESC LIMIT 1
        ) v ON true
        WHERE c.kind <> 'cash_dividend'{among}
        ORDER BY c.instrument_id, c.ex_date, c.action_id
    """)


def contested_dividends(transaction: ArrowTransaction) -> pa.Table:
    """Return the cash dividends that vendors stand by of the instruments of which several vendors name any.

    The columns are action_id, instrument_id, ex_date, amount (float64), currency, whether that is the prices' `own`,
    vendor and, of the newest verdict, in_force, reason and rivals (null without one), sorted by instrument, ex-date and
    action; `new_bars` tells whether a bar within 14 days of the ex-date was learned since that verdict.
    """
    return transaction.query("""
        WITH several AS MATERIALIZED (
            SELECT instrument_id FROM corporate_actions WHERE kind = 'cash_dividend'
            GROUP BY instrument_id HAVING count(DISTINCT vendor) > 1
        )
        SELECT c.action_id, c.instrument_id, c.ex_date, CAST(c.amount AS double precision) AS amount, c.currency,
               c.currency = i.currency AS own, c.vendor, v.in_force, v.reason, v.rivals,
               coalesce(EXISTS (
                   SELECT FROM price_data_1d p
                   WHERE p.instrument_id = c.instrument_id AND p.session BETWEEN c.ex_date - 14 AND c.ex_date + 14
                     AND p.as_of >= v.decided_at
               ), false) AS new_bars
        FROM several JOIN instruments i USING (instrument_id)
        JOIN action_claims_known_at('infinity') c USING (instrument_id)
        LEFT JOIN LATERAL (
            SELECT * FROM action_verdicts v WHERE v.action_id = c.action_id ORDER BY v.verdict_id DESC LIMIT 1
        ) v ON true
        WHERE c.kind = 'cash_dividend'
        ORDER BY c.instrument_id, c.ex_date, c.action_id
    """)


def unsettled(transaction: ArrowTransaction, now: datetime, around: timedelta) -> list[int]:
    """Return the actions, sorted, on which nothing was decided since something new was learned.

    New is the action itself, that another one nearby was named or taken back, or a bar nearby: `around` on either side.
    What bears the moment `now` counts as new, since several things may be learned at one moment.
    """
    days = around.days
    found = transaction.query(
        f"""
        SELECT c.action_id FROM action_claims_known_at('infinity') c
        LEFT JOIN LATERAL (
            SELECT max(v.decided_at) AS at FROM action_verdicts v WHERE v.action_id = c.action_id
        ) decided ON true
        WHERE c.kind <> 'cash_dividend' AND (
            decided.at IS NULL
            OR EXISTS (
                SELECT FROM corporate_actions a
                WHERE a.instrument_id = c.instrument_id AND a.kind <> 'cash_dividend'
                  AND a.ex_date BETWEEN c.ex_date - {days} AND c.ex_date + {days}
                  AND (a.as_of > decided.at OR a.as_of = $1)
            ) OR EXISTS (
                SELECT FROM price_data_1d p
                WHERE p.instrument_id = c.instrument_id
                  AND p.session BETWEEN c.ex_date - {days} AND c.ex_date + {days}
                  AND (p.as_of > decided.at OR p.as_of = $1)
            )
        )
        ORDER BY c.action_id
        """,
        [now],
    )
    return found["action_id"].to_pylist()  # type: ignore[no-any-return]


def write_verdicts(transaction: ArrowTransaction, verdicts: Sequence[Mapping[str, object]], now: datetime) -> None:
    """Append verdicts: mappings with action_id, in_force, reason, rivals (action_ids) and evidence (JSON as text).

    What was decided so at this very moment already, by a run that was killed afterwards, is not said twice.
    """
    if not verdicts:
        return
    schema = pa.schema(
        [
            ("action_id", pa.int32()),
            ("in_force", pa.bool_()),
            ("reason", pa.string()),
            ("rivals", pa.list_(pa.int32())),
            ("evidence", pa.string()),
            ("decided_at", pa.timestamp("us", "UTC")),
        ]
    )
    rows = [dict(verdict) | {"decided_at": now} for verdict in verdicts]
    transaction.stage("new_verdicts", pa.Table.from_pylist(rows, schema=schema))
    names = ", ".join(schema.names)
    transaction.execute(
        f"INSERT INTO action_verdicts ({names})"
        f" SELECT {names.replace('evidence', 'CAST(evidence AS jsonb)')} FROM new_verdicts n WHERE NOT EXISTS ("
        "SELECT FROM action_verdicts v WHERE v.action_id = n.action_id AND v.decided_at = n.decided_at"
        " AND (v.in_force, v.reason, v.rivals, v.evidence)"
        " = (n.in_force, n.reason, n.rivals, CAST(n.evidence AS jsonb))) ORDER BY action_id"
    )
    transaction.execute("DROP TABLE new_verdicts")


def withdraw(transaction: ArrowTransaction, action_ids: Sequence[int], now: datetime) -> None:
    """Take actions back: each gets a further row that says so."""
    if action_ids:
        names = _NAMES.replace(", as_of", "")
        transaction.execute(
            f"INSERT INTO corporate_actions ({names}, as_of, withdrawn)"
            f" SELECT {names}, greatest(as_of, $1), true FROM corporate_actions"
            f" WHERE action_id = ANY ('{_array(action_ids)}'::integer[]) ORDER BY action_id ON CONFLICT DO NOTHING",
            [now],
        )


def note_lookups(transaction: ArrowTransaction, lookups: Sequence[Mapping[str, object]], now: datetime) -> None:
    """Note that vendors were asked about jumps: mappings with instrument_id, first, last, vendor, splits (ex-dates).

    A lookup concerns each jump from `first` to `last` that is not validated; it found a split if one of its ex-dates
    lies within ten days of the jump.
    """
    for lookup in lookups:
        transaction.execute(
            """
            INSERT INTO split_lookups AS known (instrument_id, session, vendor, found, asked_at)
            SELECT p.instrument_id, p.session, $1, EXISTS (
                       SELECT FROM unnest(CAST(string_to_array($2, ',') AS date[])) AS ex_date
                       WHERE ex_date BETWEEN p.session - 10 AND p.session + 10
                   ), $3
            FROM price_data_1d p
            WHERE p.instrument_id = $4 AND p.session BETWEEN $5 AND $6 AND p.gap_detected AND NOT p.validated
            ON CONFLICT (instrument_id, session, vendor)
            DO UPDATE SET found = excluded.found, asked_at = excluded.asked_at
            """,
            [
                lookup["vendor"],
                ",".join(str(day) for day in lookup["splits"]),  # type: ignore[attr-defined]
                now,
                lookup["instrument_id"],
                lookup["first"],
                lookup["last"],
            ],
        )


def believed_jumps(transaction: ArrowTransaction) -> pa.Table:
    """Return (instrument_id, session) of jumps of which another vendor than the bar's said that no split was there."""
    return transaction.query("""
        SELECT l.instrument_id, l.session FROM split_lookups l
        JOIN price_data_1d p USING (instrument_id, session) JOIN bar_sources b USING (source_id)
        GROUP BY l.instrument_id, l.session HAVING NOT bool_or(l.found) AND bool_or(l.vendor <> b.vendor)
    """)


def _array(ids: Iterable[int]) -> str:
    return f"{{{','.join(str(int(i)) for i in ids)}}}"


def read_splits(transaction: ArrowTransaction, as_of: datetime | None = None) -> pa.Table:
    """Return the splits in force (instrument_id, ex_date, numerator, denominator), sorted by instrument and ex-date.

    They are those known at the instant `as_of`, by default all.
    """
    known_at, values = (None, None) if as_of is None else ("$1", [as_of])
    return transaction.query(f"{split_query(known_at)} ORDER BY instrument_id, ex_date", values)


def read_dividends(transaction: ArrowTransaction, as_of: datetime | None = None) -> pa.Table:
    """Return the cash dividends in force that are in the currency of their instrument's prices.

    The columns are instrument_id, ex_date and amount (float64), sorted by instrument and ex-date.
    """
    known_at, values = (None, None) if as_of is None else ("$1", [as_of])
    return transaction.query(f"{dividend_query(known_at)} ORDER BY d.instrument_id, d.ex_date", values)

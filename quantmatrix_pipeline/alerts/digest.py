"""The digest after the nightly chain: what a session brought, as one message with one picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from quantmatrix_pipeline.alerts.message import Message, Tone
from quantmatrix_pipeline.alerts.wording import Links
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.chart import market, render
from quantmatrix_pipeline.coverage.report import coverage_as_of
from quantmatrix_pipeline.errors import ConfigurationError, NoBars
from quantmatrix_pipeline.warehouse import digest as tables
from quantmatrix_pipeline.warehouse import reads, vendor_requests
from quantmatrix_pipeline.warehouse.digest import Recorded
from quantmatrix_pipeline.warehouse.engine import Warehouse

MOVERS = 5  # of each direction
SHOWN = 15  # symbols of a list
DRAWN_SESSIONS = 120
BREADTH = (
    "instruments",
    "advances",
    "declines",
    "new_highs_252",
    "new_lows_252",
    "pct_above_sma_50",
    "pct_above_sma_200",
)


@dataclass(frozen=True, slots=True)
class Digest:
    """What a session brought.

    Attributes
    ----------
    headline
        Of the coverage: ok or degraded, and why.
    stocks
        The tracked instruments at the session.
    breadth
        The breadth's columns by session, the oldest first, the last one the session's own where it was counted.
    vendors
        Vendor -> calls and errors of the last day.
    """

    session: date
    headline: str
    degraded: bool
    stocks: Sequence[Recorded]
    breadth: Sequence[Mapping[str, object]]
    vendors: Mapping[str, tuple[int, int]]


def gather(
    warehouse: Warehouse, calendar: TradingCalendar, session: date | None, *, target: float, now: datetime
) -> Digest:
    """Read what a session brought; None stands for the newest one of the history.

    Raises
    ------
    NoBars
        The history has no row of the session.
    """
    session = session or tables.newest_session(warehouse)
    stocks = [] if session is None else tables.recorded(warehouse, session, calendar.previous(session))
    if session is None or not stocks:
        raise NoBars(f"nothing is recorded of {session or 'any session'}; `qm run` records the newest")
    coverage = coverage_as_of(warehouse, calendar, session, target=target)
    breadth = reads.breadth(warehouse, BREADTH, end=session, newest=DRAWN_SESSIONS).to_pylist()
    recent = vendor_requests.recent(warehouse, now - timedelta(days=1))
    return Digest(
        session,
        coverage.headline(),
        coverage.status != "ok",
        stocks,
        breadth,
        {vendor: (int(calls), int(errors)) for vendor, (calls, errors, _) in recent.items()},
    )


def message(digest: Digest, links: Links) -> Message:
    """Return the digest as a message."""
    facts = {
        "up": _moves(movers(digest.stocks)[0]),
        "down": _moves(movers(digest.stocks)[1]),
        "new in stage 2": _named(digest.stocks, enters_stage_2),
        "TD buy 9": _named(digest.stocks, lambda s: s.td_buy_9),
        "TD sell 9": _named(digest.stocks, lambda s: s.td_sell_9),
        "TD buy 13": _named(digest.stocks, lambda s: s.td_buy_13),
        "TD sell 13": _named(digest.stocks, lambda s: s.td_sell_13),
        "breadth": _breadth(digest),
        "vendors": ", ".join(
            f"{vendor} {calls:,} calls" + (f", {errors} errors" if errors else "")
            for vendor, (calls, errors) in digest.vendors.items()
        ),
    }
    return Message(
        "digest",
        Tone.WARNING if digest.degraded else Tone.INFO,
        f"Digest of {digest.headline}",
        {name: value for name, value in facts.items() if value},
        link=links.ui,
    )


def picture(digest: Digest) -> bytes | None:
    """Draw breadth and movers as a PNG; None where the extra that draws is not installed."""
    up, down = movers(digest.stocks)
    spec = market.picture(
        digest.session,
        [{**row, "session": str(row["session"])} for row in digest.breadth],
        [{"symbol": stock.symbol, "move": stock.perf_1d} for stock in (*up, *reversed(down))],
    )
    try:
        return render.png(spec)
    except ConfigurationError:
        return None


def movers(stocks: Sequence[Recorded]) -> tuple[list[Recorded], list[Recorded]]:
    """Return who rose most and who fell most, each the greatest move first."""
    moved = sorted((s for s in stocks if s.perf_1d), key=lambda s: (s.perf_1d or 0.0, s.symbol))
    up = [s for s in reversed(moved) if (s.perf_1d or 0.0) > 0]
    return up[:MOVERS], [s for s in moved if (s.perf_1d or 0.0) < 0][:MOVERS]


def enters_stage_2(stock: Recorded) -> bool:
    """Tell whether a stock's weekly stage is 2 and was another one at the session before."""
    now, before = (stock.stage or "").startswith("2"), (stock.stage_before or "").startswith("2")
    return now and stock.stage_before is not None and not before


def _moves(stocks: Iterable[Recorded]) -> str:
    return ", ".join(f"{s.symbol} {s.perf_1d:+.1f} %" for s in stocks)


def _named(stocks: Iterable[Recorded], wanted: Callable[[Recorded], bool]) -> str:
    names = [stock.symbol for stock in stocks if wanted(stock)]
    return ", ".join(names[:SHOWN]) + (f", … ({len(names)})" if len(names) > SHOWN else "")


def _breadth(digest: Digest) -> str:
    row = digest.breadth[-1] if digest.breadth else None
    if row is None or row["session"] != digest.session or not row["instruments"]:
        return ""
    told = [
        f"{row['advances']} up, {row['declines']} down",
        f"{row['new_highs_252']} new highs, {row['new_lows_252']} new lows",
    ]
    for days in (50, 200):
        share = row[f"pct_above_sma_{days}"]
        told += [] if share is None else [f"{share:.0f} % above the average of {days}"]
    return ", ".join(told)

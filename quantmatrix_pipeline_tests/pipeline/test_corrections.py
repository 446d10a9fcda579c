"""What a vendor says otherwise later is noticed the next night, revised beyond a tolerance, and restated;
and today's bar before its time, from which nothing is computed.
"""

from __future__ import annotations

import json
from datetime import date, timedelta

import pandas as pd
import pytest
from typer.testing import CliRunner

from quantmatrix_pipeline.cli.main import app
from quantmatrix_pipeline.errors import ConfigurationError, UnknownSymbol
from quantmatrix_pipeline.ingest.daily import ingest_daily
from quantmatrix_pipeline.ingest.provisional import ingest_provisional
from quantmatrix_pipeline.providers.vendors.files.provider import FilesProvider
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.snapshots.restate import restate
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import CALENDAR, Chain, Folder, hashes, sessions, walk

SYMBOLS = ["AAA", "BBB", "SPY"]
DAYS = sessions("2021-12-31", 34)
GRACE = timedelta(minutes=30)
BARS_AND_HISTORY = ("price_data", "price_data_revisions", "market_analysis_history", "market_analysis_cache")


@pytest.fixture
def bars() -> pd.DataFrame:
    return walk(SYMBOLS, DAYS)


def corrected(bars: pd.DataFrame, symbol: str, day: date, **factors: float) -> pd.DataFrame:
    other = bars.copy()
    at = (other["symbol"] == symbol) & (other["date"] == day)
    for name, factor in factors.items():
        other[name] = other[name].astype(float)
        other.loc[at, name] *= factor
    return other


def versions(warehouse: Warehouse, symbol: str, day: date) -> list[tuple[object, ...]]:
    rows = warehouse.rows(
        "SELECT version, status, reason FROM price_data_versions JOIN instrument_symbols USING (instrument_id)"
        " WHERE symbol = :symbol AND session = :day ORDER BY version",
        symbol=symbol,
        day=day,
    )
    return [tuple(row) for row in rows]


def revised(warehouse: Warehouse) -> set[tuple[str, date]]:
    rows = warehouse.rows(
        "SELECT DISTINCT symbol, session FROM market_analysis_history JOIN instrument_symbols USING (instrument_id)"
        " WHERE revision > 1"
    )
    return {(row.symbol, row.session) for row in rows}


def test_a_correction_is_noticed_the_next_night_and_restates_what_follows_from_it_and_no_more(
    chain: Chain, folder: Folder, warehouse: Warehouse, bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_RECHECK_SESSIONS", "3")
    folder.write(bars)
    assert chain.run(DAYS[-5], DAYS[-2]).success
    folder.write(corrected(corrected(bars, "AAA", DAYS[-4], volume=1.01), "BBB", DAYS[-5], volume=1.01))
    night = chain.run(DAYS[-1])
    assert night.success, night.errors
    facts = night.facts["daily_bars"]
    assert (facts["inserted"], facts["revised"], facts["unchanged"], facts["disputed"]) == (3, 1, 8, 0)
    assert versions(warehouse, "AAA", DAYS[-4]) == [(1, "final", "first"), (2, "revised", "corrected")]
    assert versions(warehouse, "BBB", DAYS[-5]) == [(1, "final", "first")], "four sessions back, and three are asked"
    own = {("AAA", day) for day in DAYS[-4:-1]}
    assert own <= revised(warehouse)
    assert night.checks["snapshot_equals_history"].passed

    before = hashes(warehouse, BARS_AND_HISTORY)
    again = chain.run(DAYS[-1])
    assert again.facts["daily_bars"]["asked"].startswith("0 symbols, 0 sessions"), "nothing is missing, nobody is asked"
    assert hashes(warehouse, BARS_AND_HISTORY) == before


@pytest.mark.parametrize(
    ("change", "writes"),
    [({"close": 1 + 5e-7}, 0), ({"volume": 1 + 5e-5}, 0), ({"high": 1 + 2e-6}, 1), ({"volume": 1 + 2e-4}, 1)],
    ids=str,
)
def test_what_is_equal_within_the_tolerance_of_its_field_writes_nothing(
    chain: Chain,
    folder: Folder,
    warehouse: Warehouse,
    bars: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, float],
    writes: int,
) -> None:
    monkeypatch.setenv("QM_RECHECK_SESSIONS", "2")
    folder.write(bars)
    chain.run(DAYS[-2])
    kept = warehouse.rows("SELECT * FROM price_data ORDER BY instrument_id, session")
    folder.write(corrected(bars, "AAA", DAYS[-2], **change))
    night = chain.run(DAYS[-1])
    assert night.facts["daily_bars"]["revised"] == writes
    assert warehouse.scalar("SELECT count(*) FROM price_data_revisions") == writes
    now = warehouse.rows("SELECT * FROM price_data WHERE session < :last ORDER BY 1, 3", last=DAYS[-1])
    assert sum(a != b for a, b in zip(kept, now, strict=True)) == writes


class Other(FilesProvider):
    """The same files behind another vendor's name."""

    name = "other"

    @property
    def vendors(self) -> tuple[str, ...]:
        return (self.name,)

    async def daily_bars(self, requests, *, concurrency):  # type: ignore[no-untyped-def]
        async for answer in super().daily_bars(requests, concurrency=concurrency):
            yield type(answer)(**{**{f: getattr(answer, f) for f in answer.__slots__}, "vendor": self.name})


def test_another_vendors_word_on_a_stored_bar_is_logged_and_the_bar_stays(
    chain: Chain, folder: Folder, warehouse: Warehouse, bars: pd.DataFrame
) -> None:
    folder.write(bars[bars["date"] < DAYS[-1]])
    chain.run(DAYS[-2])
    folder.write(corrected(bars, "AAA", DAYS[-2], close=1.001))
    now = CALENDAR.close(DAYS[-1]) + GRACE
    done = ingest_daily(warehouse, Other(folder.path), CALENDAR, DAYS[-1], DAYS[-1], depth=30, now=now, recheck=2)
    assert done.balanced
    assert (done.inserted, done.revised, done.unchanged, done.disputed) == (3, 0, 6, 1)
    assert versions(warehouse, "AAA", DAYS[-2]) == [(1, "final", "first")]
    (logged,) = warehouse.rows("SELECT vendor, symbol, session, reason_codes, payload FROM validation_log")
    assert (logged.vendor, logged.symbol, logged.session) == ("other", "AAA", DAYS[-2])
    assert logged.reason_codes == ["another_vendor_says_otherwise"]
    assert set(logged.payload) == {"open", "high", "low", "close", "volume"}


def test_a_clock_that_was_set_back_changes_nothing_that_was_known(
    chain: Chain, folder: Folder, warehouse: Warehouse, bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_RECHECK_SESSIONS", "2")
    folder.write(bars)
    monkeypatch.setenv("QM_NOW", "2022-01-10T12:00:00Z")
    chain.run(DAYS[-2])
    digest = "SELECT md5(string_agg(r::text, '' ORDER BY r::text)) FROM {}('2022-01-10T12:00:00Z') r"
    known = [digest.format(f) for f in ("bars_known_at", "history_known_at", "actions_known_at")]
    before = [warehouse.scalar(query) for query in known]
    monkeypatch.setenv("QM_NOW", "2022-01-03T12:00:00Z")
    folder.write(corrected(bars, "AAA", DAYS[-2], close=1.001), splits=f"symbol,ex_date,ratio\nBBB,{DAYS[-3]},2\n")
    back = chain.run(DAYS[-1])
    assert back.success, back.errors
    assert (back.facts["daily_bars"]["revised"], back.facts["daily_bars"]["splits"]) == (2, 1)
    assert versions(warehouse, "AAA", DAYS[-2])[-1] == (2, "revised", "corrected")
    assert versions(warehouse, "BBB", DAYS[-3])[-1][1:] == ("final", "rescored"), "the prices show no such split"
    assert back.facts["indicator_history"]["restated"] > 0
    assert [warehouse.scalar(query) for query in known] == before
    assert warehouse.scalar("SELECT count(*) FROM price_data_known_at('2022-01-10T11:59:59Z')") == 0


# --- before the close and its grace -----------------------------------------------------------------------------------


def test_a_provisional_bar_is_kept_used_for_nothing_and_replaced_by_the_final_one(
    chain: Chain, folder: Folder, warehouse: Warehouse, bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = DAYS[-1]
    folder.write(bars[bars["date"] < today])
    chain.run(DAYS[-2])
    untouched = ("market_analysis_history", "market_analysis_cache", "history_due", "ingestion_cursor")
    before = hashes(warehouse, untouched)
    noon, close = CALENDAR.close(today) - timedelta(hours=4), CALENDAR.close(today)

    half = bars[bars["date"] < today]
    so_far = corrected(bars, "AAA", today, close=0.999)
    folder.write(pd.concat([half, so_far[so_far["date"] == today]]))
    first = ingest_provisional(warehouse, FilesProvider(folder.path), CALENDAR, now=noon, grace=GRACE)
    assert (first.inserted, first.revised, first.unchanged) == (3, 0, 0)
    folder.write(bars)
    monkeypatch.setenv("QM_NOW", (close + timedelta(minutes=29)).isoformat())
    second = CliRunner().invoke(app, ["provisional"], catch_exceptions=False)
    assert f"{today}: 0 provisional bars, 1 of them anew, 2 unchanged, 0 rejected, 0 not served" in second.output
    assert versions(warehouse, "AAA", today) == [(1, "provisional", "first"), (2, "provisional", "provisional")]
    assert warehouse.scalar("SELECT count(*) FROM price_data WHERE validated AND session = :d", d=today) == 0
    assert hashes(warehouse, untouched) == before

    # The chain for the session before sees nothing of it: not the indicators, not the coverage, not the checks.
    again = chain.run(DAYS[-2])
    assert again.success
    assert again.facts["daily_bars"]["asked"].startswith("0 symbols")
    assert hashes(warehouse, untouched) == before
    assert tables.last_sessions(warehouse, [1, 2, 3], today) == dict.fromkeys([1, 2, 3], DAYS[-2])

    monkeypatch.setenv("QM_NOW", (close + GRACE).isoformat())
    final = chain.run(today)
    assert final.success, final.errors
    assert (final.facts["daily_bars"]["inserted"], final.facts["daily_bars"]["revised"]) == (0, 3)
    assert versions(warehouse, "AAA", today)[2:] == [(3, "final", "closed")]
    assert versions(warehouse, "BBB", today) == [(1, "provisional", "first"), (2, "final", "closed")]
    assert final.facts["indicator_history"]["recorded"] == 3
    with pytest.raises(ConfigurationError, match="no session is open"):
        ingest_provisional(warehouse, FilesProvider(folder.path), CALENDAR, now=close + GRACE, grace=GRACE)


def test_the_final_bars_are_the_same_whether_provisional_ones_came_before_or_not(
    chain: Chain, folder: Folder, warehouse: Warehouse, bars: pd.DataFrame
) -> None:
    """The provisional bar of a session is no neighbour of any: flags and scores are those of the final bars alone."""
    folder.write(bars[bars["date"] < DAYS[-2]])
    chain.run(DAYS[-3])
    wild = corrected(bars, "AAA", DAYS[-2], open=3.0, high=3.1, close=3.0, low=2.9, volume=50.0)
    folder.write(wild[wild["date"] <= DAYS[-2]])
    ingest_provisional(warehouse, FilesProvider(folder.path), CALENDAR, now=CALENDAR.close(DAYS[-2]), grace=GRACE)
    folder.write(bars[bars["date"] != DAYS[-2]])  # the final one never comes
    assert chain.run(DAYS[-1]).success
    (last,) = warehouse.rows(
        "SELECT gap_detected, volume_anomaly, quality_score FROM bars WHERE symbol = 'AAA' AND session = :d", d=DAYS[-1]
    )
    assert tuple(last) == (False, False, 1.0)
    folder.write(bars)
    chain.run(DAYS[-1])
    scores = warehouse.rows("SELECT DISTINCT quality_score, gap_detected FROM price_data")
    assert [tuple(score) for score in scores] == [(1.0, False)]


# --- restating --------------------------------------------------------------------------------------------------------


def test_what_is_due_can_be_restated_without_a_night_and_is_then_what_a_night_makes_of_it(
    chain: Chain, folder: Folder, warehouse: Warehouse, bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(bars)
    assert chain.run(DAYS[-5], DAYS[-1]).success
    platform = Platform()
    now = CALENDAR.close(DAYS[-1]) + timedelta(hours=20)
    nothing = restate(warehouse, CALENDAR, now=now, grace=GRACE, method=platform.method)
    assert (nothing.instruments, nothing.counts.restated) == (0, 0)

    folder.write(corrected(bars, "AAA", DAYS[-4], close=1.001, high=1.002))
    chain.run(DAYS[-1], job="refresh_constituents")
    provider = FilesProvider(folder.path)
    warehouse.execute(  # a hole, so that the last sessions are asked for
        "DELETE FROM price_data WHERE session = :d AND instrument_id = (SELECT instrument_id FROM symbols"
        " WHERE symbol = 'AAA')",
        {"d": DAYS[-3]},
    )
    ingest_daily(warehouse, provider, CALENDAR, DAYS[-1], DAYS[-1], depth=30, now=now, recheck=5)
    assert warehouse.scalar("SELECT count(*) FROM history_due") == 1
    monkeypatch.setenv("QM_NOW", now.isoformat())
    cli = CliRunner()
    done = json.loads(cli.invoke(app, ["restate", "--json"], catch_exceptions=False).output)
    assert done["instruments"] == 1
    assert done["restated"] >= 4
    assert done["snapshots_changed"] >= 1
    named = cli.invoke(app, ["restate", "--symbol", "aaa", "--since", str(DAYS[-2])], catch_exceptions=False).output
    assert "1 instruments were due: 0 rows restated, 0 recorded, 4 unchanged" in named, (
        "two of AAA, the newest of the others"
    )
    with pytest.raises(ConfigurationError, match="--since needs --symbol"):
        cli.invoke(app, ["restate", "--since", "2021-01-04"], catch_exceptions=False)
    with pytest.raises(UnknownSymbol, match="no instrument bears NONE"):
        cli.invoke(app, ["restate", "--symbol", "NONE"], catch_exceptions=False)
    assert {(s, d) for s, d in revised(warehouse) if s == "AAA"} == {("AAA", d) for d in DAYS[-4:]}
    after = hashes(warehouse, BARS_AND_HISTORY)
    again = chain.run(DAYS[-5], DAYS[-1])
    assert again.facts["indicator_history"]["restated"] == 0
    assert hashes(warehouse, BARS_AND_HISTORY) == after
    assert again.checks["snapshot_equals_history"].passed

"""What is asked of a source, night after night: everything once, then only what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from quantmatrix_pipeline.ingest.daily import ingest_daily
from quantmatrix_pipeline.providers.answers import Listing
from quantmatrix_pipeline.providers.vendors.files import FilesProvider
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import CALENDAR, Chain, Folder, hashes, sessions, walk

DAYS = sessions("2021-12-30", 30)
TONIGHT, TOMORROW = DAYS[-1], sessions("2021-12-31", 1)[0]
SYMBOLS = ["AAA", "BBB", "SPY"]


def asked(symbols: int, count: int, last: object = TONIGHT, first: object = DAYS[0]) -> str:
    return f"{symbols} symbols, {count} sessions, {first}..{last}"


def test_the_first_run_writes_bars_snapshots_history_and_an_ok_coverage(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    folder.write(walk(SYMBOLS, DAYS))
    done = chain.run(TONIGHT)
    assert done.success, done.errors
    assert done.facts["daily_bars"]["asked"] == asked(3, 90)
    assert done.facts["daily_bars"]["inserted"] == warehouse.scalar("SELECT count(*) FROM price_data") == 90
    assert done.facts["indicator_snapshots"]["dagster/row_count"] == 3
    assert warehouse.scalar("SELECT count(*) FROM market_analysis_cache WHERE session = :d", d=TONIGHT) == 3
    assert done.facts["indicator_history"]["recorded"] == 3
    assert warehouse.scalar("SELECT count(*) FROM market_analysis_history WHERE session = :d", d=TONIGHT) == 3
    assert done.facts["coverage_report"]["headline"] == f"{TONIGHT} ok: 3 of 3 instruments fresh (100.0%)"
    assert warehouse.scalar("SELECT status FROM coverage_snapshots WHERE session = :d", d=TONIGHT) == "ok"
    assert {name: c.passed for name, c in done.checks.items()} == dict.fromkeys(done.checks, True)
    assert len(done.checks) == 11


def test_the_second_run_asks_for_nothing_and_changes_nothing(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    folder.write(walk(SYMBOLS, DAYS))
    chain.run(TONIGHT)
    before = hashes(warehouse)
    again = chain.run(TONIGHT)
    assert again.success
    assert again.facts["daily_bars"]["asked"] == asked(0, 0)
    assert again.facts["indicator_snapshots"]["changed"] == 0
    assert (again.facts["indicator_history"]["recorded"], again.facts["indicator_history"]["unchanged"]) == (0, 3)
    held = {name: facts.get("dagster/partition_row_count") for name, facts in again.facts.items()}
    assert (held["daily_bars"], held["indicator_history"], held["market_breadth"]) == (3, 3, 1)
    assert hashes(warehouse) == before


def test_of_a_folder_that_grew_by_a_session_only_that_session_is_asked_for(chain: Chain, folder: Folder) -> None:
    bars = walk(SYMBOLS, [*DAYS, TOMORROW])
    folder.write(bars[bars["date"] <= TONIGHT])
    chain.run(TONIGHT)
    folder.write(bars)
    done = chain.run(TOMORROW)
    assert done.facts["daily_bars"]["asked"] == asked(3, 3, TOMORROW, DAYS[1])
    assert done.facts["daily_bars"]["inserted"] == 3


def test_a_hole_is_healed_and_its_neighbour_is_judged_anew_as_a_revision(
    chain: Chain, folder: Folder, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = walk(SYMBOLS, DAYS)
    hole, after = DAYS[15], DAYS[16]
    # Two steps of 8 % each: without the day between them they look like one gap of over 10 %.
    for first in (hole, after):
        bars.loc[(bars["symbol"] == "AAA") & (bars["date"] >= first), ["open", "high", "low", "close"]] *= 1.08
    is_hole = (bars["symbol"] == "AAA") & (bars["date"] == hole)
    folder.write(bars[~is_hole])
    monkeypatch.setenv("QM_NOW", "2021-12-30T23:00:00Z")
    holed = chain.run(TONIGHT)
    evaluation = holed.checks["no_session_missing_inside_a_life"]
    assert (evaluation.passed, evaluation.severity.value) == (False, "WARN")
    assert evaluation.metadata["worst"].value.records[0].data["symbol"] == "AAA"
    assert holed.facts["daily_bars"]["flagged"] == 1

    folder.write(bars)
    monkeypatch.setenv("QM_NOW", "2021-12-31T01:00:00Z")
    healed = chain.run(TONIGHT)
    assert healed.facts["daily_bars"]["asked"] == asked(1, 1)
    assert (healed.facts["daily_bars"]["inserted"], healed.facts["daily_bars"]["rescored"]) == (1, 1)
    assert healed.checks["no_session_missing_inside_a_life"].passed
    revised = warehouse.rows(
        "SELECT version, gap_detected, reason, session"
        " FROM price_data_versions JOIN instrument_symbols USING (instrument_id)"
        " WHERE symbol = 'AAA' AND session IN (:hole, :after) ORDER BY session, version",
        hole=hole,
        after=after,
    )
    assert [tuple(row) for row in revised] == [
        (1, False, "first", hole),
        (1, True, "first", after),
        (2, False, "rescored", after),
    ]
    known_before = warehouse.rows(
        "SELECT session, gap_detected FROM price_data_versions JOIN instrument_symbols USING (instrument_id)"
        " WHERE symbol = 'AAA' AND session IN (:hole, :after) AND as_of <= :t"
        " AND (superseded_at IS NULL OR superseded_at > :t)",
        hole=hole,
        after=after,
        t="2021-12-31T00:00:00Z",
    )
    assert [tuple(row) for row in known_before] == [(after, True)]
    assert healed.facts["indicator_history"]["restated"] == 1, "a bar more changes the averages recorded before"


def test_a_hole_that_the_source_has_too_is_asked_for_again_each_night(chain: Chain, folder: Folder) -> None:
    bars = walk(SYMBOLS, DAYS)
    folder.write(bars[(bars["symbol"] != "BBB") | (bars["date"] != DAYS[4])])
    chain.run(TONIGHT)
    for _ in range(2):
        assert chain.run(TONIGHT).facts["daily_bars"]["asked"] == asked(1, 1)


def test_of_a_finite_source_nothing_is_asked_before_the_first_bar_that_it_holds(chain: Chain, folder: Folder) -> None:
    bars = walk(SYMBOLS, [*DAYS, TOMORROW])
    listed_late = bars[(bars["symbol"] != "BBB") | (bars["date"] >= DAYS[20])]
    folder.write(listed_late[listed_late["date"] <= TONIGHT])
    first = chain.run(TONIGHT)
    assert (first.facts["daily_bars"]["asked"], first.facts["daily_bars"]["inserted"]) == (asked(3, 70), 70)
    assert chain.run(TONIGHT).facts["daily_bars"]["asked"] == asked(0, 0)
    folder.write(listed_late)
    assert chain.run(TOMORROW).facts["daily_bars"]["asked"] == asked(3, 3, TOMORROW, DAYS[1])


class Endless(FilesProvider):
    """The same files behind the face of a vendor, which does not say what it holds."""

    def listings(self) -> Sequence[Listing]:
        return ()


def test_an_endless_source_is_asked_once_for_sessions_before_the_first_bar(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    bars = walk(SYMBOLS, DAYS)
    folder.write(bars[(bars["symbol"] != "BBB") | (bars["date"] >= DAYS[20])])
    chain.run(TONIGHT, job="refresh_constituents")

    def ingest(depth: int) -> tuple[int, int]:
        now = datetime(2021, 12, 30, 23, tzinfo=UTC)
        vendor = Endless(folder.path)
        done = ingest_daily(warehouse, vendor, CALENDAR, TONIGHT, TONIGHT, depth=depth, now=now)
        assert done.balanced
        return done.asked_sessions, done.inserted

    assert ingest(15) == (45, 15 + 10 + 15)
    assert ingest(15) == (0, 0)
    assert ingest(30) == (45, 30), "deeper than ever: what lies before that is asked for, once"
    assert ingest(30) == (0, 0)


def test_what_no_file_holds_is_named_with_its_reason_and_the_rest_is_stored(chain: Chain, folder: Folder) -> None:
    folder.write(walk(["AAA", "BBB"], DAYS))  # the benchmark SPY is missing
    done = chain.run(TONIGHT)
    assert done.success
    assert (done.facts["daily_bars"]["inserted"], done.facts["daily_bars"]["failed_symbols"]) == (60, 1)
    assert done.rows("daily_bars", "failures") == [
        {"symbol": "SPY", "why": "SymbolNotFound: files: SPY: no file of the folder holds it"}
    ]


def test_a_corrected_bar_in_the_window_is_no_reason_to_fetch_what_is_there(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    bars = walk(SYMBOLS, DAYS)
    folder.write(bars)
    chain.run(TONIGHT)
    before = hashes(warehouse, ["price_data"])
    folder.write(bars.assign(volume=bars["volume"] + 1))
    assert chain.run(TONIGHT).facts["daily_bars"]["asked"] == asked(0, 0)
    assert hashes(warehouse, ["price_data"]) == before


def test_a_session_in_the_past_is_run_without_pushing_newer_snapshots_out(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    folder.write(walk(SYMBOLS, DAYS))
    chain.run(TONIGHT)
    snapshots = hashes(warehouse, ["market_analysis_cache"])
    past = chain.run(DAYS[-5])
    assert past.success, past.errors
    assert past.facts["indicator_history"]["recorded"] == 3
    assert hashes(warehouse, ["market_analysis_cache"]) == snapshots
    assert all(check.passed for check in past.checks.values())

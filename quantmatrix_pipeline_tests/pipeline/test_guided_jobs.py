"""The guided jobs on a small real warehouse: as they come, a second time, of a part of the tracked set, as dry runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest
from dagster import ExecuteInProcessResult, JobDefinition

from quantmatrix_pipeline.automation.runs.reports import report
from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.universe.tracking import watch
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, hashes, overlong, sessions, walk

DAYS = sessions("2021-12-31", 30)
TONIGHT = DAYS[-1]
DOW = [f"D{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
SYMBOLS = [*DOW, "SPY", "LATE"]
MEMBERS = {"DOW30": "symbol\n" + "\n".join(DOW)}
GUIDED = (
    "restore_daily_coverage",
    "backfill_stale_daily",
    "backfill_symbols",
    "backfill_index",
    "recompute_indicators",
    "record_history",
    "backfill_history",
    "refresh_coverage",
    "restate",
)


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("recompute_indicators", "indicator_snapshots", {"scope": "index", "index": "FTSE"}, "none of SP500"),
    ("backfill_symbols", "fetch_symbols", {"symbols": ["NOBODY"]}, "not tracked: NOBODY"),
    ("backfill_symbols", "fetch_symbols", {"symbols": ["SPY"], "last": "2021-02-30"}, "'2021-02-30' is no date"),
    ("backfill_index", "fetch_index", {"first": "2021-12-25", "last": "2021-12-26"}, "no closed session"),
    ("backfill_history", "record_range", {"first": "2022-01-03"}, "no closed session"),
    ("restate", "record_what_is_due", {"since": "soon", "symbols": ["SPY"]}, "'soon' is no date"),
]


@pytest.fixture
def night(chain: Chain, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Chain:
    """A first night over an index of 26 and the benchmark is over."""
    monkeypatch.setenv("QM_NOW", "2021-12-31T23:00:00Z")
    folder.write(walk(SYMBOLS, DAYS), constituents=MEMBERS)
    assert chain.run(TONIGHT).success
    return chain


def press(chain: Chain, name: str, config: Mapping[str, Any] | None = None) -> ExecuteInProcessResult:
    """Run a job as the launchpad does: for tonight's session where it takes one, with the given config of its ops."""
    job = build_defs().resolve_job_def(name)
    assert isinstance(job, JobDefinition)
    result = job.execute_in_process(
        instance=chain.instance,
        partition_key=str(TONIGHT) if job.partitions_def else None,
        raise_on_error=False,
        run_config={
            "ops": {op: {"config": dict(given)} for op, given in (config or {}).items()},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
    )
    assert overlong(result.all_events) == {}
    return result


def told(result: ExecuteInProcessResult, name: str) -> Any:
    """Return one value of what a run's steps told: of an output, a materialization or an observation."""
    for event in result.all_events:
        data = event.event_specific_data
        for holder in (data, getattr(data, "materialization", None), getattr(data, "asset_observation", None)):
            metadata = getattr(holder, "metadata", None) or {}
            if name in metadata:
                return metadata[name].value
    raise AssertionError(f"no step told {name}")


def skipped(result: ExecuteInProcessResult) -> set[str]:
    return {str(event.step_key) for event in result.all_events if event.event_type_value == "STEP_SKIPPED"}


def error_of(result: ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error.cause is not None:
                error = error.cause
            return str(error.message)
    raise AssertionError("no step failed")


def test_as_they_come_they_change_nothing_and_what_is_new_on_the_watch_list_is_fetched_at_once(
    night: Chain, warehouse: Warehouse
) -> None:
    before = hashes(warehouse)
    for name in GUIDED:
        result = press(night, name)
        assert result.success, f"{name}: {error_of(result)}"
        assert hashes(warehouse) == before, f"{name} changed something"

    watch(warehouse, ["LATE"], datetime(2021, 12, 31, 23, tzinfo=UTC))
    dry = press(night, "backfill_symbols", {"fetch_symbols": {"symbols": ["late"], "dry_run": True}})
    assert told(dry, "would_ask") == "1 symbols, 30 sessions; nothing was fetched"
    assert skipped(dry) == {"bring_history_up_to_date", "look_at_the_coverage"}
    assert of_late(warehouse, "price_data") == 0

    first = press(night, "backfill_symbols")
    assert told(first, "asked") == f"1 symbols, 30 sessions, {DAYS[0]}..{TONIGHT}"
    rows = [of_late(warehouse, t) for t in ("price_data", "market_analysis_cache", "market_analysis_history")]
    assert rows == [30, 1, 1]
    run = report(night.instance, first.run_id, None, 0.0)
    assert run is not None
    assert run.counters["fetch_symbols inserted"] == 30, "an alert tells what ops counted"
    assert told(first, "headline").startswith(f"{TONIGHT} ok: 28 of 28")
    before = hashes(warehouse)
    again = press(night, "backfill_symbols", {"fetch_symbols": {"symbols": ["LATE"]}})
    assert told(again, "asked") == "nothing: nothing is missing"
    for job, op, config, said in REFUSED:
        assert said in error_of(press(night, job, {op: config})), (job, config)
    assert hashes(warehouse) == before
    # What was fetched, and what failed while it should have been; a run to which nothing was missing is neither.
    of_symbols = fetched(warehouse, "backfill_symbols")
    assert of_symbols[0] == (30, True, None)
    assert [(n, well) for n, well, _ in of_symbols[1:]] == [(None, False)] * 2
    assert all("NOBODY" in why or "2021-02-30" in why for _, _, why in of_symbols[1:])
    assert [well for _, well, _ in fetched(warehouse, "backfill_index")] == [False]


def fetched(warehouse: Warehouse, job: str) -> list[tuple[int | None, bool, str | None]]:
    rows = warehouse.rows(
        "SELECT records_imported, success, error_details FROM backfill_history WHERE origin = :job"
        " ORDER BY backfill_timestamp",
        job=job,
    )
    return [tuple(row) for row in rows]


def of_late(warehouse: Warehouse, table: str) -> int:
    named = "(SELECT instrument_id FROM instrument_symbols WHERE symbol = 'LATE')"
    return int(warehouse.scalar(f"SELECT count(*) FROM {table} WHERE instrument_id = {named}"))


def test_missed_nights_are_recorded_and_an_index_is_fetched_and_computed_again(
    chain: Chain, folder: Folder, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = chain
    folder.write(walk(SYMBOLS, DAYS), constituents=MEMBERS)
    for day in (date(2021, 12, 27), TONIGHT):
        monkeypatch.setenv("QM_NOW", f"{day}T23:00:00Z")
        assert chain.run(day).success
    nights_on_which_nothing_ran_are_recorded_and_show_as_partitions(chain, warehouse)

    members = "instrument_id IN (SELECT instrument_id FROM index_constituents)"
    warehouse.execute(f"DELETE FROM price_data WHERE session = :day AND {members}", {"day": DAYS[20]})
    dry = press(night, "restore_daily_coverage", {"daily_bars": {"dry_run": True}})
    assert told(dry, "would_ask") == "26 symbols, 26 sessions; nothing was fetched"
    assert {"indicator_history", "coverage_report"} <= skipped(dry)
    done = press(night, "backfill_index", {"fetch_index": {"index": "dow30", "first": str(DAYS[10])}})
    assert told(done, "inserted") == 26
    assert told(done, "headline").startswith(f"{TONIGHT} ok: 27 of 27")
    assert fetched(warehouse, "backfill_index") == [(26, True, None)]
    assert fetched(warehouse, "restore_daily_coverage")[0] == (27 * len(DAYS[:-4]), True, None)

    warehouse.execute("UPDATE market_analysis_cache SET rsi = -1")
    nobody = recompute(night, scope="portfolio")
    assert told(nobody, "scope").startswith("the portfolio is empty: no positions are stored")
    assert told(nobody, "changed") == 0
    since = recompute(night, scope="index", index="DOW30", since="2021-12-01")
    assert (told(since, "scope"), told(since, "changed")) == ("DOW30: 26 instruments", 26)
    assert warehouse.scalar("SELECT count(*) FROM market_analysis_cache WHERE rsi = -1") == 1
    assert warehouse.scalar("SELECT count(*) FROM history_due") == 0


def recompute(chain: Chain, **config: Any) -> ExecuteInProcessResult:
    return press(chain, "recompute_indicators", {"indicator_snapshots": config})


def nights_on_which_nothing_ran_are_recorded_and_show_as_partitions(chain: Chain, warehouse: Warehouse) -> None:
    dry = press(chain, "backfill_history", {"record_range": {"dry_run": True}})
    assert told(dry, "sessions") == "3 sessions, 2021-12-28..2021-12-30"
    assert recorded(warehouse) == {"2021-12-27": 27, "2021-12-31": 27}
    done = press(chain, "backfill_history")
    assert (told(done, "recorded"), told(done, "restated")) == (3 * 27, 0)
    assert len(recorded(warehouse)) == 5
    partitions = {e.partition for e in done.all_events if e.event_type_value == "ASSET_MATERIALIZATION"}
    assert partitions == {"2021-12-28", "2021-12-29", "2021-12-30"}
    assert told(press(chain, "backfill_history"), "sessions") == "none: no session was missed"
    ranged = press(chain, "backfill_history", {"record_range": {"first": "2021-12-22"}})
    assert told(ranged, "recorded") == 2 * 27, "of the 22nd and the 23rd; the 24th was a holiday"


def recorded(warehouse: Warehouse) -> dict[str, int]:
    rows = warehouse.rows("SELECT session, count(*) AS n FROM market_analysis_history GROUP BY session ORDER BY 1")
    return {str(row.session): row.n for row in rows}

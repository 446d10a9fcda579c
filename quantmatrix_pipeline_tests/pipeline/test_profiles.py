"""The weekly refresh of profiles as Dagster runs it, with vendors behind real HTTP and with none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from dagster import DagsterInstance

from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.job_names import REFRESH_PROFILES, RESTORE
from quantmatrix_pipeline.warehouse import bars, instruments, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import CALENDAR, Chain, Folder, Outcome, sessions, walk
from quantmatrix_pipeline_tests.pipeline.ticks import schedule_tick
from quantmatrix_pipeline_tests.vendor_server import KEYS, Market, Vendors, broken, garbage, premium, vendors

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAYS = list(CALENDAR.window(CALENDAR.newest_closed(NOW, timedelta(minutes=30)), 3).tolist())
KNOWN = ["AAA", "BBB", "CCC"]
NOBODYS = "ZZZ"


def run(instance: DagsterInstance) -> Outcome:
    """Run the job, which takes no session."""
    result = (
        build_defs()
        .resolve_job_def(REFRESH_PROFILES)
        .execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    )
    assert result.success, [event.message for event in result.all_events if event.is_failure]
    outcome = Outcome(result.success, result.run_id)
    (made,) = [e.materialization for e in result.all_events if e.event_type_value == "ASSET_MATERIALIZATION"]
    outcome.facts["company_profiles"] = {name: value.value for name, value in made.metadata.items()}
    return outcome


def facts(done: Outcome, *names: str) -> tuple[object, ...]:
    return tuple(done.facts["company_profiles"][name] for name in names)


@pytest.fixture
def followed(warehouse: Warehouse) -> Warehouse:
    """A warehouse that follows four companies, of one of which an index told the sector."""
    ids = instruments.ensure(warehouse, [*KNOWN, NOBODYS])
    universe.track(warehouse, DAYS[-1], {i: ["watch_list"] for i in ids.values()})
    instruments.describe(warehouse, [{"symbol": "AAA", "sector": "Information Technology"}])
    return warehouse


@pytest.fixture
def served(environment: None, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Vendors]:
    """A user with keys of two vendors of profiles, one of which does not know one company."""
    with vendors(Market(walk(KNOWN, DAYS), lacking={"fmp": {"CCC"}})) as running:
        running.enter(monkeypatch, "fmp", "finnhub")
        monkeypatch.setenv("QM_DATABASE_URL", database_url)
        monkeypatch.setenv("QM_DATA_DIR", str(tmp_path / "data"))
        monkeypatch.setenv("QM_SOURCE", "vendors")
        monkeypatch.setenv("QM_BUDGET_WAIT_SECONDS", "0")
        yield running


def test_companies_are_described_by_who_knows_them_and_nothing_is_asked_twice_in_a_week(
    followed: Warehouse, served: Vendors, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_NOW", NOW.isoformat())
    done = run(instance)
    assert facts(done, "due", "asked", "changed", "unchanged", "unknown", "undone") == (4, 4, 3, 1, 1, 0)
    assert done.rows("company_profiles", "served_by") == [
        {"vendor": "finnhub", "companies": 1},
        {"vendor": "fmp", "companies": 2},
    ]
    (unknown,) = done.rows("company_profiles", "unknown_because")
    assert (unknown["companies"], unknown["symbols"]) == (1, NOBODYS)
    assert "finnhub: " in unknown["why"]
    asked = {row["vendor"]: row for row in done.rows("company_profiles", "vendor_requests")}
    assert (asked["fmp"]["calls"], asked["fmp"]["symbols"]) == (4, 2)
    described = {
        row.symbol: (row.sector, row.exchange, row.market_cap, row.vendor)
        for row in followed.rows("SELECT * FROM companies ORDER BY symbol")
    }
    assert described == {
        "AAA": ("Information Technology", "NASDAQ", 1.5e9, "fmp"),
        "BBB": ("Technology", "NASDAQ", 1.5e9, "fmp"),
        "CCC": (None, "NASDAQ", 1.5005e9, "finnhub"),
        NOBODYS: (None, None, None, None),
    }
    assert not [key for key in KEYS.values() if key in repr(done.facts)]

    served.forget()
    again = run(instance)
    assert facts(again, "due", "asked", "changed", "unchanged") == (0, 0, 0, 4)
    assert served.count() == {}


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(broken, marks=pytest.mark.slow, id="500"),
        pytest.param(garbage, id="a page"),
        pytest.param(premium, id="not in the plan"),
    ],
)
def test_vendors_that_all_fail_leave_the_run_a_success_that_says_so(
    followed: Warehouse,
    served: Vendors,
    instance: DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    trouble: object,
) -> None:
    monkeypatch.setenv("QM_CALL_DEADLINE_SECONDS", "15")
    for name in ("fmp", "finnhub", "yfinance"):
        served.trouble[name] = broken if trouble is premium and name == "yfinance" else trouble  # type: ignore[assignment]
    done = run(instance)
    without = sum(facts(done, "unknown", "undone"))  # type: ignore[arg-type]
    assert without == 4
    assert facts(done, "changed") == (1,), "what the index told is kept whoever fails"
    (kept,) = followed.rows("SELECT instrument_id, sector, vendor FROM company_profiles")
    assert (kept.sector, kept.vendor) == ("Information Technology", "constituents")
    told = repr(done.facts)
    assert "fmp: " in told
    assert not [key for key in KEYS.values() if key in told]


def test_budgets_that_are_used_up_leave_companies_undone_and_the_next_refresh_has_them(
    followed: Warehouse, served: Vendors, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.market.lacking = {}
    served.trouble["yfinance"] = broken
    monkeypatch.delenv("FINNHUB_API_KEY")
    monkeypatch.setenv("QM_FMP_BUDGET", "2/day")
    first = run(instance)
    assert facts(first, "asked", "undone") == (2, 2)
    told = first.rows("company_profiles", "undone_because")
    assert sum(row["companies"] for row in told) == 2
    assert all("fmp: " in row["why"] and "used up" in row["why"] for row in told)
    served.forget()
    monkeypatch.setenv("QM_FMP_BUDGET", "40/day")
    second = run(instance)
    assert {call.query["symbol"] for call in served.calls("fmp")} == {"CCC", NOBODYS}
    assert facts(second, "undone") == (0,)


def test_with_a_folder_of_files_only_what_its_lists_say_is_taken_and_nobody_is_asked(
    chain: Chain, folder: Folder, warehouse: Warehouse, instance: DagsterInstance
) -> None:
    folder.write(
        walk(["AAA", "SPY"], sessions("2021-12-31", 30)),
        instruments="symbol,kind,name,currency\nAAA,stock,A Inc,USD\nSPY,fund,The Fund,USD\n",
    )
    assert chain.run(sessions("2021-12-31", 1)[0], job=RESTORE).success
    done = run(instance)
    assert facts(done, "due", "asked", "calls", "changed") == (2, 0, 0, 2)
    assert "QM_SOURCE=files" in str(done.facts["company_profiles"]["source"])
    assert [row.name for row in warehouse.rows("SELECT name FROM companies ORDER BY symbol")] == ["A Inc", "The Fund"]
    assert facts(run(instance), "changed", "unchanged") == (0, 2)


def test_a_network_that_is_down_for_the_automatic_choice_fails_no_run(
    followed: Warehouse, environment: None, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_SOURCE", "auto")
    monkeypatch.delenv("QM_FILES_DIR")
    monkeypatch.setenv("QM_YAHOO_BASE_URL", "http://127.0.0.1:9")
    bars.source_id(followed, "yfinance", "split", DAYS[-1])
    done = run(instance)
    assert facts(done, "asked", "changed") == (0, 1)
    assert "run again when it answers" in str(done.facts["company_profiles"]["source"])


def test_profiles_are_refreshed_on_saturday_morning_after_the_members(
    environment: None, folder: Folder, tmp_path: Path
) -> None:
    home = tmp_path / "dagster"
    home.mkdir()
    with DagsterInstance.local_temp(str(home)) as instance:
        (weekly,) = schedule_tick(
            "weekly_profiles", datetime(2021, 12, 25, 7, 0, tzinfo=ZoneInfo("America/New_York")), instance
        ).runs
    assert (weekly.run_key, weekly.partition_key) == ("weekly_profiles-2021-12-25T07:00-05:00", None)


def test_nothing_waits_for_the_profiles_and_no_nightly_job_runs_them(environment: None) -> None:
    definitions = build_defs()
    assert [
        spec.key.to_user_string()
        for spec in definitions.resolve_all_asset_specs()
        if "company_profiles" in [dep.asset_key.to_user_string() for dep in spec.deps]
    ] == []
    running = {
        job.name: "company_profiles" in [k.to_user_string() for k in job.asset_layer.executable_asset_keys]
        for job in definitions.get_repository_def().get_all_jobs()
        if not job.name.startswith("__")
    }
    assert [name for name, runs in running.items() if runs] == [REFRESH_PROFILES]

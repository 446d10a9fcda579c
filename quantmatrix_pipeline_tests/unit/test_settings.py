"""Settings: what each variable accepts, which of two places wins, and a file that changes under a running process."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.providers.routing.limits import Limits
from quantmatrix_pipeline.providers.routing.policy import OVERRIDES
from quantmatrix_pipeline.settings import ALIASES, VENDORS, Reloading, Settings, Source, load, read, vendor_names
from quantmatrix_pipeline.settings.loading import VARIABLES

SECRET = "s3cretKEY0123456789"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {name for names in VARIABLES.values() for name in names} | {"QM_ENV_FILE"}:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that QM_ENV_FILE names, empty."""
    path = tmp_path / "ours.env"
    path.write_text("")
    monkeypatch.setenv("QM_ENV_FILE", str(path))
    return path


def replace(file: Path, text: str) -> None:
    """Put another file in its place, as editors and configuration managers do."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def refusal() -> str:
    with pytest.raises(ConfigurationError) as refused:
        load()
    return str(refused.value)


# --- vendors --------------------------------------------------------------------------------------------------------


def test_every_vendor_has_what_the_free_plans_allow_and_its_own_address() -> None:
    settings = load()
    found = {name: (settings.vendor(name).base_url, settings.vendor(name).budget) for name in VENDORS}
    assert found == {
        "fmp": ("https://financialmodelingprep.com/stable", "250/day"),
        "twelve_data": ("https://api.twelvedata.com", "8/min 800/day"),
        "finnhub": ("https://finnhub.io/api/v1", "30/s 60/min"),
        "alpha_vantage": ("https://www.alphavantage.co", "1/s 25/day"),
        "polygon": ("https://api.massive.com", "5/min"),
        "yfinance": (None, "120/min"),
        "binance": ("https://data-api.binance.vision", "6000/min"),
        "coingecko": ("https://api.coingecko.com/api/v3", "30/min 320/day"),
        "cryptocompare": ("https://min-api.cryptocompare.com", "100/min"),
        "fred": ("https://api.stlouisfed.org/fred", "120/min"),
        "wikipedia": ("https://en.wikipedia.org", "30/min"),
    }
    for _, budget in found.values():
        assert str(Limits.parse(budget)) == budget


@pytest.mark.parametrize(
    ("vendor", "variable", "required"),
    [
        ("fmp", "FMP_API_KEY", True),
        ("twelve_data", "TWELVE_DATA_API_KEY", True),
        ("finnhub", "FINNHUB_API_KEY", True),
        ("alpha_vantage", "ALPHA_VANTAGE_API_KEY", True),
        ("polygon", "POLYGON_API_KEY", True),
        ("coingecko", "COINGECKO_API_KEY", False),
        ("cryptocompare", "CRYPTOCOMPARE_API_KEY", True),
        ("fred", "FRED_API_KEY", True),
    ],
)
def test_a_vendor_with_keys_can_be_asked_once_its_key_is_set_or_when_it_needs_none(
    monkeypatch: pytest.MonkeyPatch, vendor: str, variable: str, required: bool
) -> None:
    without = load().vendor(vendor)
    assert (without.key, without.key_variable, without.key_required) == (None, variable, required)
    assert without.usable is not required
    monkeypatch.setenv(variable, SECRET)
    with_key = load().vendor(vendor)
    assert with_key.key is not None
    assert with_key.key.get_secret_value() == SECRET
    assert with_key.usable
    assert SECRET not in repr(with_key) + repr(load())


@pytest.mark.parametrize("vendor", ["yfinance", "binance", "wikipedia"])
def test_a_vendor_without_keys_has_no_variable_for_one_and_can_be_asked(vendor: str) -> None:
    found = load().vendor(vendor)
    assert (found.key, found.key_variable, found.key_required, found.usable) == (None, None, False, True)


@pytest.mark.parametrize(
    ("name", "vendor"),
    [
        ("TWELVEDATA_API_KEY", "twelve_data"),
        ("ALPHAVANTAGE_API_KEY", "alpha_vantage"),
        ("MASSIVE_API_KEY", "polygon"),
        ("QM_FMP_API_KEY", "fmp"),
        ("QM_MASSIVE_API_KEY", "polygon"),
    ],
)
def test_other_names_of_a_key_are_read_too(monkeypatch: pytest.MonkeyPatch, name: str, vendor: str) -> None:
    monkeypatch.setenv(name, SECRET)
    assert load().vendor(vendor).key is not None


def test_a_vendor_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        load().vendor("iex")


def test_an_empty_key_is_not_set_and_hides_no_other_name_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMP_API_KEY", "")
    assert load().vendor("fmp").key is None
    monkeypatch.setenv("QM_FMP_API_KEY", SECRET)
    assert load().vendor("fmp").key is not None


@pytest.mark.parametrize("value", [f"{SECRET} x", f"{SECRET}\nX-More: 1", f"{SECRET}é"])
def test_a_key_that_no_request_can_carry_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("FINNHUB_API_KEY", value)
    said = refusal()
    assert "FINNHUB_API_KEY" in said
    assert SECRET not in said


def test_blanks_around_a_key_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINNHUB_API_KEY", f" {SECRET}\n")
    key = load().vendor("finnhub").key
    assert key is not None
    assert key.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("https://proxy.example/fmp/", "https://proxy.example/fmp"),
        ("https://proxy.example/fmp", "https://proxy.example/fmp"),
    ],
)
def test_an_address_loses_the_slash_at_its_end(monkeypatch: pytest.MonkeyPatch, value: str, kept: str) -> None:
    monkeypatch.setenv("QM_FMP_BASE_URL", value)
    monkeypatch.setenv("QM_YAHOO_BASE_URL", value)
    settings = load()
    assert (settings.vendor("fmp").base_url, settings.vendor("yfinance").base_url) == (kept, kept)


@pytest.mark.parametrize(
    "value",
    [
        "ftp://proxy.example",
        "proxy.example",
        "https://",
        "https://proxy.example:port",
        f"https://user:{SECRET}@proxy.example",
        f"https://{SECRET}@proxy.example",
        f"https://proxy.example/?apikey={SECRET}",
        f"https://proxy.example/#{SECRET}",
    ],
)
def test_an_address_that_is_none_or_holds_more_than_one_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("QM_POLYGON_BASE_URL", value)
    said = refusal()
    assert "QM_POLYGON_BASE_URL" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("300/min", "300/min"),
        ("30/s  60/MIN 5000/day", "30/s 60/min 5000/day"),
        ("none", "unlimited"),
        ("", "30/s 60/min"),  # as if it were not set: a blank line lifts no limit
        ("unlimited", "unlimited"),
    ],
)
def test_a_budget_is_a_list_of_limits_or_the_word_none(monkeypatch: pytest.MonkeyPatch, value: str, kept: str) -> None:
    monkeypatch.setenv("QM_FINNHUB_BUDGET", value)
    assert load().vendor("finnhub").budget == kept


@pytest.mark.parametrize("value", ["8", "0/day", "-1/min", "8/hour", "8/min 9/min", "8.5/min", "many"])
def test_a_budget_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("QM_YAHOO_BUDGET", value)
    assert "QM_YAHOO_BUDGET" in refusal()


@given(
    st.fixed_dictionaries({}, optional={unit: st.integers(-1, 10**6) for unit in ("s", "min", "day", "hour")}),
    st.sampled_from([" ", "  ", "\t"]),
)
def test_every_budget_that_the_settings_take_is_one_that_can_be_kept(limits: dict[str, int], blank: str) -> None:
    text = blank.join(f"{limit}/{unit}" for unit, limit in limits.items())
    right = bool(limits) and all(limit > 0 for limit in limits.values()) and "hour" not in limits
    if right:
        kept = Limits.parse(Settings(fred_budget=text).vendor("fred").budget)
        assert (kept.per_second, kept.per_minute, kept.per_day) == tuple(limits.get(u) for u in ("s", "min", "day"))
    else:
        with pytest.raises(ValueError, match="limit"):
            Settings(fred_budget=text)


# --- policies -------------------------------------------------------------------------------------------------------


def test_the_policies_variables_are_those_that_the_routing_knows() -> None:
    assert set(load().policies) == set(OVERRIDES)


def test_policies_are_read_under_both_names_and_say_vendors_by_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().market_provider_policy == "free"
    monkeypatch.setenv("MARKET_PROVIDER_POLICY", "PAID")
    monkeypatch.setenv("POLICY_EOD", "Yahoo, twelve-data,massive,yfinance")
    monkeypatch.setenv("QM_POLICY_CRYPTO", "crypto_compare")
    settings = load()
    assert settings.market_provider_policy == "paid"
    assert settings.policies["POLICY_EOD"] == "yfinance,twelve_data,polygon"
    assert settings.policies["POLICY_CRYPTO"] == "cryptocompare"
    assert settings.policies["POLICY_QUOTES_L1"] is None
    monkeypatch.setenv("MARKET_PROVIDER_POLICY", "polygon,fmp")
    assert load().market_provider_policy == "polygon,fmp"


@pytest.mark.parametrize("variable", ["MARKET_PROVIDER_POLICY", *OVERRIDES])
def test_a_policy_that_names_an_unknown_vendor_says_variable_name_and_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "fmp,iexcloud")
    said = refusal()
    assert f"{variable}: 'iexcloud' is no vendor any more" in said
    assert all(vendor in said for vendor in VENDORS)


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_stands_for_a_vendor(alias: str) -> None:
    assert vendor_names(alias) == (ALIASES[alias],)
    assert ALIASES[alias] in VENDORS


def test_a_list_that_names_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLICY_EOD", " , ")
    assert "POLICY_EOD" in refusal()


# --- the rest -------------------------------------------------------------------------------------------------------


def test_the_vendors_are_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_SOURCE", "vendors")
    assert load().source is Source.VENDORS


def test_limits_of_calls_have_the_documented_defaults() -> None:
    settings = load()
    assert (settings.fetch_concurrency, settings.call_timeout_seconds, settings.call_deadline_seconds) == (16, 15, 60)
    assert (settings.budget_wait_seconds, settings.polygon_history_days, settings.answer_cache) == (300, 730, True)
    assert (settings.profile_max_age_days, settings.profile_calls) == (7, 200)
    assert settings.allow_source_override


def test_a_deadline_shorter_than_one_call_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_CALL_DEADLINE_SECONDS", "10")
    assert "QM_CALL_DEADLINE_SECONDS" in refusal()
    monkeypatch.setenv("QM_CALL_TIMEOUT_SECONDS", "10")
    assert load().call_deadline_seconds == 10


def test_the_stages_thresholds_have_the_documented_defaults_and_2b_does_not_end_before_it_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load()
    assert (settings.stage_flat_percent, settings.stage_near_percent, settings.stage_far_percent) == (0.05, 5, 15)
    monkeypatch.setenv("QM_STAGE_NEAR_PERCENT", "20")
    assert "QM_STAGE_FAR_PERCENT" in refusal()
    monkeypatch.setenv("QM_STAGE_FAR_PERCENT", "20")
    assert load().stage_far_percent == 20


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_no_variable_sets_two_settings() -> None:
    names = [name for names in VARIABLES.values() for name in names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("field", VARIABLES)
def test_each_name_of_a_variable_is_read(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    for name in VARIABLES[field]:
        with monkeypatch.context() as patch:
            # No setting takes a number of this form but the free texts, which keep it.
            patch.setenv(name, " -1.5x\x01")
            reading = read()
        kept = "" if reading.settings is None else getattr(reading.settings, field)
        text = kept.get_secret_value() if hasattr(kept, "get_secret_value") else str(kept)
        assert text == " -1.5x\x01" or reading.faults[0].startswith(f"{name}:")


# --- the file -------------------------------------------------------------------------------------------------------


def test_the_environment_wins_over_the_file_under_whichever_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace(file, "QM_API_PORT=1001\nQM_UI_PORT=1002\nMASSIVE_API_KEY=of-the-file\n")
    monkeypatch.setenv("API_PORT", "2001")
    monkeypatch.setenv("QM_POLYGON_API_KEY", "of-the-environment")
    reading = read()
    assert reading.settings is not None
    assert (reading.settings.api_port, reading.settings.ui_port) == (2001, 1002)
    key = reading.settings.vendor("polygon").key
    assert key is not None
    assert key.get_secret_value() == "of-the-environment"
    assert reading.shadowed == {"QM_API_PORT": "API_PORT", "MASSIVE_API_KEY": "QM_POLYGON_API_KEY"}


def test_an_empty_variable_of_the_environment_leaves_the_files_in_force(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(file, f"FMP_API_KEY={SECRET}\nQM_FMP_BUDGET=3/day\nPOLICY_EOD=fmp\n")
    for name in ("FMP_API_KEY", "QM_FMP_BUDGET", "POLICY_EOD"):
        monkeypatch.setenv(name, "")
    reading = read()
    assert reading.settings is not None
    fmp = reading.settings.vendor("fmp")
    assert fmp.key is not None
    assert reading.settings.policies["POLICY_EOD"] == "fmp"
    assert fmp.budget == "3/day"
    assert not reading.shadowed


def test_of_two_names_in_the_file_the_first_known_one_holds_and_the_other_is_told(file: Path) -> None:
    replace(file, "API_PORT=1\nQM_API_PORT=2\n")
    reading = read()
    assert reading.settings is not None
    assert reading.settings.api_port == 2
    assert reading.shadowed == {"API_PORT": "QM_API_PORT"}


def test_the_file_may_be_written_as_a_shell_would_read_it(file: Path) -> None:
    replace(file, "# ours\nexport QM_API_PORT='1001'\n\nQM_CALENDAR=\"XLON\"  # London\nPATH_OF=/x\n")
    settings = load()
    assert (settings.api_port, settings.calendar) == (1001, "XLON")


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("POLICY_EODD", "POLICY_EOD"),
        ("QM_FMP_BUGDET", "QM_FMP_BUDGET"),
        ("FINHUB_API_KEY", "FINNHUB_API_KEY"),
        ("QM_TWELVEDATA_BASE_URL", "QM_TWELVE_DATA_BASE_URL"),
    ],
)
def test_a_name_of_ours_that_is_not_known_is_refused_with_the_nearest(file: Path, typo: str, meant: str) -> None:
    replace(file, f"{typo}={SECRET}\n")
    said = refusal()
    assert f"{typo} in {file}" in said
    assert f"did you mean {meant}?" in said
    assert SECRET not in said


def test_what_only_the_environment_can_set_is_refused_in_the_file(file: Path) -> None:
    replace(file, "QM_NOW=2021-12-31T22:00:00Z\n")
    assert "QM_NOW" in refusal()


def test_names_of_other_programs_are_left_alone_and_so_is_the_files_own(file: Path) -> None:
    replace(file, f"AWS_REGION=eu\nGRAFANA_PASSWORD=x\nQM_ENV_FILE={file}\n")
    assert read().faults == ()


def test_a_file_is_refused_as_a_whole_and_every_fault_of_it_is_named(file: Path) -> None:
    replace(file, f"FMP_API_KEY={SECRET}\n{SECRET}\nQM_API_PORT=abc\nPOLICY_EOD=iex\nQM_FRED_BUGDET=1/s\n")
    reading = read()
    assert reading.settings is None
    assert len(reading.faults) == 4
    for name in ("line 2", "QM_API_PORT", "POLICY_EOD", "QM_FRED_BUGDET"):
        assert sum(name in fault for fault in reading.faults) == 1
    assert all(str(file) in fault for fault in reading.faults)
    assert SECRET not in refusal()


def test_a_file_that_can_not_be_read_is_refused(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(b"QM_BENCHMARK=\xff\xfe\n")
    assert "UTF-8" in refusal()
    for other in (tmp_path, tmp_path / "none.env"):
        monkeypatch.setenv("QM_ENV_FILE", str(other))
        assert str(other) in refusal()


# --- read again -----------------------------------------------------------------------------------------------------


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(file: Path) -> None:
    replace(file, "FINNHUB_API_KEY=first\n")
    reloading = Reloading()
    first = reloading.current()
    assert reloading.current() is first
    replace(file, "FINNHUB_API_KEY=other\n")
    key = reloading.current().vendor("finnhub").key
    assert key is not None
    assert key.get_secret_value() == "other"
    assert reloading.refused is None


def test_a_wrong_file_leaves_the_last_good_settings_in_force_and_is_logged_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    replace(file, "POLICY_EOD=fmp\nFMP_API_KEY=first\n")
    reloading = Reloading()
    good = reloading.current()
    with caplog.at_level(logging.INFO):
        replace(file, f"POLICY_EOD=iex\nFMP_API_KEY={SECRET}\n")
        assert all(reloading.current() is good for _ in range(3))
    assert reloading.refused is not None
    assert "POLICY_EOD" in reloading.refused
    assert len(caplog.records) == 1
    assert SECRET not in caplog.text
    replace(file, "POLICY_EOD=yahoo\n")
    assert reloading.current().policies["POLICY_EOD"] == "yfinance"
    assert reloading.refused is None


def test_a_file_that_is_taken_away_is_refused_until_it_is_back(file: Path) -> None:
    replace(file, "QM_API_PORT=1001\n")
    reloading = Reloading()
    kept = file.rename(file.with_suffix(".away"))
    assert reloading.current().api_port == 1001
    assert reloading.refused is not None
    assert "no such file" in reloading.refused
    kept.rename(file)
    assert reloading.current().api_port == 1001
    assert reloading.refused is None


def test_a_file_written_over_in_its_place_is_noticed_by_its_time(file: Path) -> None:
    file.write_text("QM_API_PORT=1001\n")
    reloading = Reloading()
    before = file.stat()
    file.write_text("QM_API_PORT=1002\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert reloading.current().api_port == 1002


def test_without_a_file_the_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    reloading = Reloading()
    monkeypatch.setenv("QM_API_PORT", "1001")
    assert reloading.current() is reloading.current()
    assert reloading.current().api_port == 8000


def test_wrong_settings_from_the_start_are_raised(file: Path) -> None:
    replace(file, "QM_API_PORT=abc\n")
    with pytest.raises(ConfigurationError, match="QM_API_PORT"):
        Reloading()


def test_threads_see_whole_settings_only(file: Path) -> None:
    """Each file names one number twice; settings in which the two differ would be of two files."""
    replace(file, "QM_API_PORT=1\nQM_UI_PORT=1\n")
    reloading = Reloading()
    seen: list[tuple[int, int]] = []
    done = threading.Event()

    def look() -> None:
        mine = []
        while not done.is_set():
            settings = reloading.current()
            mine.append((settings.api_port, settings.ui_port))
        seen.extend(mine)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(2, 52):
        replace(file, f"QM_API_PORT={number}\nQM_UI_PORT={number}\n" if number % 5 else "QM_API_PORT=0\n")
        reloading.current()
    done.set()
    for thread in threads:
        thread.join()
    assert all(api == ui for api, ui in seen)
    assert reloading.current().api_port == 51
    assert len(set(seen)) > 1


# --- the admins' keys -----------------------------------------------------------------------------------------------


def test_admin_keys_have_names_or_are_called_after_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().admin_keys == {}
    monkeypatch.setenv("QM_ADMIN_API_KEYS", f"ada:{SECRET}, {SECRET}2 ,ops@desk.example:{SECRET}:3")
    keys = load().admin_keys
    assert keys == {"ada": SECRET, "admin 2": f"{SECRET}2", "ops@desk.example": f"{SECRET}:3"}
    assert SECRET not in repr(load())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("ada:short", "the key of entry 1 is not printable ASCII of at least 16 characters"),
        (f"ada:{SECRET},", "the key of entry 2"),
        (f"ada:{SECRET} x", "the key of entry 1"),
        (f"ada:{SECRET}é", "the key of entry 1"),
        (f"a da:{SECRET}", "the name before the colon of entry 1"),
        (f":{SECRET}", "the name before the colon of entry 1"),
        (f"ada:{SECRET},ada:{SECRET}2", "two keys of ada"),
    ],
)
def test_a_wrong_admin_key_is_told_by_its_place_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    monkeypatch.setenv("QM_ADMIN_API_KEYS", value)
    told = refusal()
    assert f"QM_ADMIN_API_KEYS: {said}" in told
    assert SECRET not in told


def test_dagster_is_where_its_port_or_its_address_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_UI_PORT", "3131")
    assert load().dagster_address == "http://127.0.0.1:3131"
    monkeypatch.setenv("QM_DAGSTER_URL", "https://dagster.example/ui/")
    assert load().dagster_address == "https://dagster.example/ui"

"""FRED over a real HTTP server: real values in the shape of its documentation, its refusals as others met them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import MacroSeries
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.transport.answers_kept import KeptAnswers
from quantmatrix_pipeline.providers.vendors import fred
from quantmatrix_pipeline_tests.shared_data import shared_data
from quantmatrix_pipeline_tests.unit.providers.vendors.asking import Asking
from quantmatrix_pipeline_tests.unit.providers.vendors.cases import Case, Provenance
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Reply, in_order

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
KEY = "abcdefghijklmnopqrstuvwxyz012345"
FRED = Asking(fred.connect, KEY)
FIRST, LAST = date(2026, 11, 9), date(2026, 11, 13)


def observations(*rows: tuple[str, Any], **more: Any) -> Reply:
    vintage = {"realtime_start": "2026-11-21", "realtime_end": "2026-11-21"}
    body = vintage | {
        "observation_start": "2026-11-09",
        "observation_end": "2026-11-13",
        "units": "lin",
        "output_type": 1,
        "file_type": "json",
        "order_by": "observation_date",
        "sort_order": "asc",
        "count": len(rows),
        "offset": 0,
        "limit": 100_000,
        "observations": [vintage | {"date": day, "value": value} for day, value in rows],
    }
    return Reply(json.dumps(body | more))


def refused(code: int, text: str, status: int | None = None, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(json.dumps({"error_code": code, "error_message": text}), status or code, headers or {})


WEEK = observations(
    ("2026-11-09", "4.11"), ("2026-11-10", "4.09"), ("2026-11-11", "."), ("2026-11-12", "4.12"), ("2026-11-13", "-0.5")
)
EMPTY = observations()
UNKNOWN = refused(400, "Bad Request.  The series does not exist.")
TOO_MANY = "Too Many Requests.  Exceeded Rate Limit"
LIMITED = refused(429, TOO_MANY)
UNREGISTERED = refused(
    400,
    "Bad Request.  The value for variable api_key is not registered.  Read "
    "https://fred.stlouisfed.org/docs/api/api_key.html for more information.",
)
NO_SUCH_KEY = refused(
    400, "Bad Request.  The value for variable api_key is not a 32 character alpha-numeric lower-case string."
)
ERROR_IN_200 = refused(400, "Bad Request.  The series does not exist.", 200)
TRUNCATED = Reply(WEEK.body[:-60])

SHAPE = "its documentation"
QUOTED = "as quoted in public issue threads"
CASES = (
    Case("fred", "ok", Provenance.DOCUMENTED, f"shape of {SHAPE}", (WEEK,)),
    Case("fred", "paged", Provenance.DOCUMENTED, "an answer holds 100,000 observations: 273 years of days"),
    Case("fred", "empty", Provenance.DOCUMENTED, f"count 0, {SHAPE}", (EMPTY,)),
    Case("fred", "unknown symbol", Provenance.DOCUMENTED, QUOTED, (UNKNOWN,)),
    Case("fred", "rate limited", Provenance.DOCUMENTED, QUOTED, (LIMITED,)),
    Case("fred", "bad key", Provenance.DOCUMENTED, QUOTED, (UNREGISTERED,)),
    Case("fred", "no such key", Provenance.DOCUMENTED, QUOTED, (NO_SUCH_KEY,)),
    Case("fred", "premium only", Provenance.DOCUMENTED, "it has no plans"),
    Case("fred", "error in a 200", Provenance.CONSTRUCTED, "the body of a 400 under status 200", (ERROR_IN_200,)),
    Case("fred", "truncated", Provenance.CONSTRUCTED, "a week, cut off", (TRUNCATED,)),
)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", NOW.isoformat())


def case(situation: str) -> tuple[Reply, ...]:
    (found,) = [c for c in CASES if c.situation == situation]
    return found.replies


def series(name: str = "DGS10", first: date = FIRST, last: date = LAST) -> Callable[..., Any]:
    return lambda vendor: vendor.macro_series(name, first, last)


# --- what is there ----------------------------------------------------------------------------------------------------


def test_a_day_without_a_value_is_nan_and_the_others_are_numbers() -> None:
    found = FRED.ask(in_order(*case("ok")), series())
    macro: MacroSeries = found.value
    assert (macro.vendor, macro.series, macro.learned_at, macro.units) == ("fred", "DGS10", NOW, None)
    assert macro.day.tolist() == [date(2026, 11, day) for day in range(9, 14)]
    assert macro.value[[0, 1, 3, 4]].tolist() == [4.11, 4.09, 4.12, -0.5]
    assert np.isnan(macro.value[2])


def test_it_is_asked_once_for_json_with_the_key_in_the_query() -> None:
    found = FRED.ask(in_order(*case("ok")), series())
    assert found.call.path == "/series/observations"
    assert found.call.query == {
        "series_id": "DGS10",
        "file_type": "json",  # XML else
        "observation_start": "2026-11-09",
        "observation_end": "2026-11-13",
        "sort_order": "asc",
        "limit": "100000",
        "api_key": KEY,
    }
    (timed,) = found.meter.attempts
    assert (timed.capability, timed.endpoint, timed.error) == (Capability.MACRO, "series/observations", None)
    assert found.meter.weights == [1]


@pytest.mark.parametrize("name", ["DGS10", "FEDFUNDS", "BAMLH0A0HYM2"])
def test_a_real_series_comes_back_to_the_last_digit(name: str) -> None:
    real = pd.read_csv(shared_data("macro", f"fred_{name}.csv"), dtype=str, keep_default_na=False)
    days, texts = real["date"].tolist(), real["value"].tolist()
    reply = observations(*zip(days, [text or "." for text in texts], strict=True))
    first, last = date.fromisoformat(days[0]), date.fromisoformat(days[-1])
    macro = FRED.ask(in_order(reply), series(name, first, last)).value
    assert len(macro.day) == len(days) > 100
    assert macro.day.astype(str).tolist() == days
    assert np.array_equal(macro.value, [float(text or "nan") for text in texts], equal_nan=True)


def test_a_stretch_without_observations_is_an_empty_series() -> None:
    macro = FRED.ask(in_order(*case("empty")), series()).value
    assert (len(macro.day), len(macro.value)) == (0, 0)


def test_a_period_that_begins_outside_of_the_stretch_is_left_out() -> None:
    reply = observations(("2026-10-01", "3.1"), ("2026-11-01", "3.2"), ("2026-12-01", "3.3"))
    macro = FRED.ask(in_order(reply), series("FEDFUNDS", date(2026, 10, 15), date(2026, 11, 30))).value
    assert macro.day.tolist() == [date(2026, 11, 1)]


def test_an_answer_serves_for_a_day() -> None:
    kept = KeptAnswers()
    first = FRED.ask(in_order(*case("ok")), series(), kept=kept)
    again = FRED.ask(in_order(EMPTY), series(), kept=kept, at=first.server)
    assert (again.server.calls, len(again.value.day)) == ([], 5)
    assert fred.observations_query("DGS10", FIRST, LAST).keep_seconds == 24 * 3600


def test_a_name_that_is_no_series_is_refused_without_a_call() -> None:
    assert isinstance(FRED.fail(series("10-year yield"), EMPTY, calls=0), UnsupportedRequest)


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "error", "says"),
    [
        ("unknown symbol", SymbolNotFound, "The series does not exist"),
        ("rate limited", RateLimited, "Exceeded Rate Limit"),
        ("bad key", AuthFailed, "FRED_API_KEY"),
        ("no such key", AuthFailed, "FRED_API_KEY"),
        ("error in a 200", SymbolNotFound, "The series does not exist"),
        ("truncated", MalformedResponse, "no JSON"),
    ],
)
def test_every_refusal_is_a_typed_error_after_one_call(situation: str, error: type[VendorError], says: str) -> None:
    found = FRED.fail(series(), *case(situation))
    assert isinstance(found, error)
    assert says in str(found)


def test_an_unknown_series_is_named() -> None:
    assert FRED.fail(series("NOSUCH"), UNKNOWN).symbol == "NOSUCH"


def test_a_limit_without_a_header_names_no_pause() -> None:
    error = FRED.fail(series(), LIMITED)
    assert isinstance(error, RateLimited)
    assert error.retry_after is None


def test_a_pause_that_the_vendor_names_is_kept_and_then_it_answers() -> None:
    found = FRED.ask(in_order(refused(429, TOO_MANY, headers={"Retry-After": "0"}), WEEK), series())
    assert len(found.value.day) == 5
    assert found.meter.weights == [1, 1]


def test_a_server_error_is_asked_again_in_whichever_way_it_is_told() -> None:
    for reply in (refused(500, "Internal Server Error"), refused(503, "Service Unavailable", 200), Reply("", 502)):
        found = FRED.ask(in_order(reply, WEEK), series())
        assert isinstance(found.meter.attempts[0].error, VendorUnavailable)
        assert len(found.value.day) == 5


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply("<html><body>maintenance</body></html>", headers={"Content-Type": "text/html"}), "no JSON (text/html"),
        (Reply("<?xml version='1.0'?><observations/>", headers={"Content-Type": "text/xml"}), "no JSON (text/xml"),
        (Reply("[]"), "Expected `object`"),
        (Reply("{}"), "missing required field"),
        (Reply('{"count":1,"observations":[{"date":"2026-11-09","value":NaN}]}'), "no JSON"),
        (observations(("2026-11-09", "."), ("2026-11-10", "n/a")), "row 2: value is 'n/a'"),
        (observations(("2026-11-09", "NaN")), "row 1: value is 'NaN'"),
        (observations(("2026-11-09", "1e999")), "row 1: value is '1e999'"),
        (observations(("2026-11-09", None)), "value"),
        (observations(("09.11.2026", "4.1")), "'09.11.2026' is no date"),
        (observations(("2026-11-10", "4.1"), ("2026-11-09", "4.1")), "row 2 is not of a later day"),
        (observations(("2026-11-09", "4.1"), ("2026-11-09", "4.1")), "row 2 is not of a later day"),
        (observations(("2026-11-09", "4.1"), count=2), "1 observations came of 2"),
        (observations(("2026-11-09", "4.1"), count="many"), "count"),
        (refused(400, "Bad Request.  Variable limit is not between 1 and 100000."), "Variable limit"),
    ],
)
def test_what_can_not_be_read_is_malformed_and_names_the_place(reply: Reply, says: str) -> None:
    error = FRED.fail(series(), reply)
    assert isinstance(error, MalformedResponse)
    assert error.symbol == "DGS10"
    assert says in str(error)


def test_the_key_is_in_no_message_and_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    replies = [
        refused(400, f"api_key {KEY} is not registered."),
        Reply(f"<p>{KEY}</p>"),
        Reply(f"no {KEY}", 418),
        LIMITED,
    ]
    errors = [FRED.fail(series(), reply) for reply in replies]
    FRED.ask(in_order(*case("ok")), series())
    shown = [repr(e) + str(e) + repr(e.__cause__) + repr(e.__context__) for e in errors]
    assert all(KEY not in text for text in [*shown, caplog.text])
    assert "***" in str(errors[0])

"""The spec draws from the data it carries, becomes a picture and a page, and survives odd instruments."""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from quantmatrix_pipeline.chart import render, spec
from quantmatrix_pipeline.chart.axis import MOST_TICKS, BarAxis
from quantmatrix_pipeline.chart.datasets import Records, datasets
from quantmatrix_pipeline.chart.marks import price_format
from quantmatrix_pipeline.chart.price_pane import price_range
from quantmatrix_pipeline.chart.spec import Subject
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.indicators.panel import PRICES
from quantmatrix_pipeline_tests.unit.chart.panels import split_panel

AAPL = Subject("AAPL", "Apple Inc.")
NAME = "Smith </script><script>alert(1)</script> & Sons"


@pytest.fixture(scope="module")
def data() -> dict[str, Records]:
    return datasets(split_panel(), 120)


def layers(drawn: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for pane in drawn["vconcat"]:
        yield from pane["layer"]


@pytest.mark.parametrize("draw", [spec.picture, spec.page])
def test_each_layer_names_a_data_set_and_fields_that_it_has(
    data: dict[str, Records], draw: Callable[[dict[str, Records], Subject], dict[str, Any]]
) -> None:
    drawn = draw(data, AAPL)
    assert drawn["datasets"] == data
    seen = set()
    for layer in layers(drawn):
        if (name := layer["data"].get("name")) is None:
            assert layer["data"].keys() == {"values"}
            continue
        seen.add(name)
        known = set().union(*data[name]) | {t["as"] for t in layer["transform"] if "as" in t}
        channels = [c for e in layer["encoding"].values() for c in (e if isinstance(e, list) else [e])]
        used = {c["field"] for c in channels if "field" in c}
        used |= set(re.findall(r"datum\.(\w+)", str(layer["transform"]) + str(layer["encoding"]))) - {"value"}
        assert used <= known, (name, used - known)
    assert seen == data.keys()


def test_the_picture_is_as_large_as_it_says_and_not_empty(
    data: dict[str, Records], capfd: pytest.CaptureFixture[str]
) -> None:
    picture = render.png(spec.picture(data, AAPL))
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", picture[16:24])
    assert 2300 < width < 2700
    assert 1600 < height < 2000
    assert 100_000 < len(picture) < 4_000_000
    assert capfd.readouterr().err == ""


def test_the_page_asks_nobody_for_anything_and_a_name_ends_no_script(data: dict[str, Records]) -> None:
    page = render.page(spec.page(data, Subject("SONS", NAME)))
    tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", re.sub(r"(?s)(<script>).*?(</script>)", r"\1\2", page))
    assert tags == ["<script>", "<script>"]
    assert "@import" not in page
    assert NAME not in page
    assert "<title>SONS Smith &lt;/script&gt;" in page


def test_the_page_shows_values_of_every_pane_under_the_pointer(data: dict[str, Records]) -> None:
    drawn = spec.page(data, AAPL)
    fields = [pane["layer"][-1] for pane in drawn["vconcat"]]
    told = {channel["field"] for channel in fields[0]["encoding"]["tooltip"]}
    assert {"session", *PRICES, "volume", "rsi", "macd", "sma_200", "td_buy_countdown", "stage_label"} <= told
    for param in drawn["params"]:
        assert param["views"] == [field["name"] for field in fields]


def test_the_heading_says_what_the_last_bar_says(data: dict[str, Records]) -> None:
    last = data["bars"][-1]
    title = spec.picture(data, replace(AAPL, currency="EUR"))["title"]
    assert title["text"] == f"AAPL Apple Inc. · {last['session']}"
    assert f"close {last['close']:,.2f} EUR, split-adjusted" in title["subtitle"]
    assert f"RSI {last['rsi']:.1f}" in title["subtitle"]
    assert f"weekly stage {last['stage_label']}" in title["subtitle"]
    assert f"open gaps {last['gaps_unfilled_up']} up, {last['gaps_unfilled_down']} down" in title["subtitle"]


def test_the_heading_says_where_prices_include_dividends(data: dict[str, Records]) -> None:
    title = spec.picture(data, replace(AAPL, dividends_in=True))["title"]
    assert "USD, adjusted for splits and dividends" in title["subtitle"]


@pytest.mark.parametrize("scale", [1.0, 1e-7])
def test_three_flat_bars_without_a_trade_are_a_picture(scale: float) -> None:
    panel = split_panel(3, splits=())
    flat = {name: np.full_like(panel.close, scale) for name in PRICES}
    data = datasets(replace(panel, **flat, volume=np.zeros_like(panel.volume)), 250)
    low, high = price_range(data["bars"])
    assert low < scale < high
    assert len(render.png(spec.picture(data, Subject("FLAT")))) > 10_000


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    for draw in (render.png, render.page):
        with pytest.raises(ConfigurationError, match=r"pip install 'quantmatrix-pipeline\[chart\]'"):
            draw({})


@pytest.mark.parametrize(
    ("count", "labels"),
    [
        (3, ["30 Dec 2019", "31 Dec", "1 Jan 2020"]),
        (40, ["6 Jan 2020", "13 Jan", "20 Jan", "27 Jan", "3 Feb"]),
        (250, ["Jan 2020", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep"]),
        (1100, ["Jan 2020", "Apr", "Jul", "Oct", "Jan 2021", "Apr", "Jul", "Oct"]),
        (1900, ["2020", "2021", "2022", "2023", "2024", "2025"]),
    ],
)
def test_ticks_begin_the_shortest_period_of_which_there_are_few_enough(count: int, labels: list[str]) -> None:
    days = [date(2019, 12, 30) + timedelta(days=k) for k in range(count)]
    axis = BarAxis.of(days)
    written = list(axis.ticks.values())
    assert written[: len(labels)] == labels
    assert len(written) <= MOST_TICKS


@pytest.mark.parametrize(
    ("price", "written"), [(43210.5, "43,210.50"), (1.0, "1.00"), (0.5, "0.5000"), (0.00001234, "0.00001234")]
)
def test_low_prices_have_more_digits(price: float, written: str) -> None:
    assert format(price, price_format(price)) == written

"""FB is called META from 2022-06-09 on: one instrument through ingest, history, index members and the read API."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from quantmatrix_pipeline.api.app import create_app
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import instruments, tiers
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import FACTS, Chain, Folder, hashes, walk

# Constructed bars on the real days: closes 190, 191, ... so that each mean of five is the close less 2.
ANSWER = pd.read_csv(
    Path(__file__).resolve().parents[1] / "answers" / "fb_meta.csv", parse_dates=["session"], dtype={"sma_5": float}
)
DAYS = [day.date() for day in ANSWER["session"]]
ON = date(2022, 6, 9)
RENAMES = "old,new,date\nFB,META,2022-06-09\n"
SPELLS = {"SP500": "symbol,start,end\nFB,2013-12-23,2022-06-09\nMETA,2022-06-09,\nSPY,2013-01-02,\n"}


def bars_of(answer: pd.DataFrame, close: pd.Series | None = None) -> pd.DataFrame:
    price = answer["close"] if close is None else close
    return pd.DataFrame(
        {"symbol": answer["symbol"], "date": answer["session"].dt.date}
        | {name: price.astype(float) for name in ("open", "high", "low", "close")}
        | {"volume": 1_000_000}
    )


def as_traded() -> pd.DataFrame:
    """FB's bars, META's from the day on, and those of the fund that bore META before."""
    fund = ANSWER[ANSWER["session"] < "2022-06-01"].assign(symbol="META")
    return pd.concat([bars_of(ANSWER), bars_of(fund, fund["close"] * 0 + 12), walk(["SPY"], DAYS, seed=1)])


def under_todays_name() -> pd.DataFrame:
    """All of the past under META, as most vendors write it."""
    return pd.concat([bars_of(ANSWER.assign(symbol="META")), walk(["SPY"], DAYS, seed=1)])


def assert_is_the_answer(warehouse: Warehouse) -> None:
    assert warehouse.scalar("SELECT count(*) FROM instruments") == 2, "a name is no instrument"
    with TestClient(create_app(Settings(), warehouse)) as client:
        bars = client.get("/api/v1/historical/META").json()["data"]
        assert [(row["time"], row["close"]) for row in bars] == [
            (str(day), close) for day, close in zip(DAYS, ANSWER["close"], strict=True)
        ]
        recorded = client.get("/api/v1/snapshots/META/history").json()["data"]
        expected = ANSWER[ANSWER["session"] >= pd.Timestamp(DAYS[-6])]
        assert [row["session"] for row in recorded] == [str(day.date()) for day in expected["session"]]
        assert [row["sma_5"] for row in recorded] == pytest.approx(list(expected["sma_5"]), rel=1e-12)

        then = client.get("/api/v1/historical/FB", params={"asof": "2022-06-08"})
        assert then.json()["data"] == bars, "the name of that day leads to all of its bars"
        assert then.json()["symbol"] == "META"
        for asof in ({}, {"asof": "2022-06-09"}):
            assert client.get("/api/v1/historical/FB", params=asof).status_code == 404
        assert client.get("/api/v1/historical/META", params={"asof": "2022-06-08"}).status_code == 404
        names = client.get("/api/v1/symbols/FB/names").json()["data"]
        assert [(n["symbol"], n["valid_to"], n["source"]) for n in names] == [
            ("FB", "2022-06-09", "files"), ("META", None, None)
        ]  # fmt: skip
        for day, name in (("2022-06-08", "FB"), ("2022-06-09", "META")):
            members = client.get("/api/v1/indexes/SP500/members", params={"on": day}).json()["data"]
            assert [(m["symbol"], m["current_symbol"]) for m in members] == [(name, "META"), ("SPY", "SPY")]


def test_night_by_night_the_instrument_goes_on_under_its_new_name(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    folder.write(as_traded(), renames=RENAMES, spells=SPELLS)
    for day in DAYS[-6:]:
        done = chain.run(day)
        assert done.success, done.errors
        (own,) = instruments.ids(warehouse).keys() - {"SPY"}
        assert own == ("FB" if day < ON else "META")
    assert_is_the_answer(warehouse)
    before = hashes(warehouse, FACTS)
    assert chain.run(DAYS[-1]).success
    assert hashes(warehouse, FACTS) == before
    assert tiers.renamed_between(warehouse, DAYS[-6], DAYS[-1]) == {"FB": "META"}
    nights = [tiers.night(warehouse, day) for day in (date(2022, 6, 8), ON)]
    assert [list(night.tiers) for night in nights] == [["FB", "SPY"], ["META", "SPY"]]


@pytest.mark.parametrize("bars", [as_traded, under_todays_name], ids=["as_traded", "under_todays_name"])
def test_a_first_run_long_after_the_rename_finds_the_past_under_either_name(
    chain: Chain, folder: Folder, warehouse: Warehouse, bars: object
) -> None:
    folder.write(bars(), renames=RENAMES, spells=SPELLS)  # type: ignore[operator]
    done = chain.run(DAYS[-6], DAYS[-1])
    assert done.success, done.errors
    assert_is_the_answer(warehouse)

"""Members, splits, dividends and instruments beside the bars."""

from __future__ import annotations

import asyncio
from datetime import date
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline.errors import ConfigurationError, MalformedResponse, UnsupportedRequest
from quantmatrix_pipeline.providers.answers import ConstituentsAnswer, Dividend, Kind, Listing, Member, Split
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.vendors.files import FilesProvider
from quantmatrix_pipeline_tests.shared_data import shared_data
from quantmatrix_pipeline_tests.unit.providers.vendors.folders import HEADER, RAW, ask, days, folder

BARS = {"bars.csv": f"{HEADER}\nA,2021-01-04,10,20,5,15,100\nA,2021-01-05,5,10,2.5,7.5,200\nB,2021-01-05,1,1,1,1,1\n"}
WEEK = days("2021-01-04", "2021-01-08")


def members(provider: FilesProvider, index: str, day: date) -> ConstituentsAnswer:
    return asyncio.run(provider.constituents(index, day))


def with_members(tmp_path: Path, index: str, path: Path | str) -> FilesProvider:
    return FilesProvider(folder(tmp_path, f'{RAW}[constituents]\n{index} = "{path}"\n', BARS))


def test_members_have_what_their_file_says_of_them(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("Name,SYMBOL,Sub_Industry\nBerkshire,brk-b,Insurance\n")
    answer = members(with_members(tmp_path, "SP500", "m.csv"), "SP500", date(2021, 1, 5))
    assert answer.members == (Member("BRK.B", "Berkshire", None, None, "Insurance"),)
    assert (answer.index, answer.as_of_date) == ("SP500", date(2021, 1, 5))


@pytest.mark.parametrize(
    ("day", "expected"),
    [("2021-01-03", {"Z"}), ("2021-01-04", {"A", "Z"}), ("2021-02-01", {"Z"}), ("2022-01-03", {"A", "Z"})],
)
def test_a_spell_begins_on_its_first_day_and_is_over_on_its_last(tmp_path: Path, day: str, expected: set[str]) -> None:
    (tmp_path / "m.csv").write_text("symbol,start,end\nA,2021-01-04,2021-02-01\nA,2022-01-03,\nZ,,\n,2021-01-01,\n")
    answer = members(with_members(tmp_path, "SP500", "m.csv"), "SP500", date.fromisoformat(day))
    assert {m.symbol for m in answer.members} == expected


def test_a_members_file_that_names_nobody_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("symbol,start\nA,2031-01-04\n")
    provider = with_members(tmp_path, "SP500", "m.csv")
    with pytest.raises(MalformedResponse, match=r"m\.csv names no member of SP500"):
        members(provider, "SP500", date(2021, 1, 5))
    with pytest.raises(UnsupportedRequest, match="DOW30"):
        members(provider, "DOW30", date(2021, 1, 5))
    assert Capability.CONSTITUENTS in provider.capabilities
    (tmp_path / "plain").mkdir()
    assert Capability.CONSTITUENTS not in FilesProvider(folder(tmp_path / "plain", RAW, BARS)).capabilities


@pytest.mark.parametrize(
    ("text", "says"),
    [("name\nApple\n", "row 1, column 'symbol'"), ("symbol,start\nA,soon\n", "row 2, column 'start': 'soon'")],
)
def test_a_wrong_members_file_names_row_and_column(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ConfigurationError) as error:
        members(with_members(tmp_path, "SP500", "m.csv"), "SP500", date(2021, 1, 5))
    assert f"m.csv: {says}" in str(error.value)


def test_the_real_spells_give_the_index_of_any_day(tmp_path: Path) -> None:
    provider = with_members(tmp_path, "SP500", shared_data("constituents", "sp500_ticker_start_end.csv"))
    then = {m.symbol for m in members(provider, "SP500", date(2015, 3, 20)).members}
    later = {m.symbol for m in members(provider, "SP500", date(2015, 3, 23)).members}
    assert "AAL" in later - then
    assert 495 <= len(later) <= 510


def test_the_real_holdings_file_of_the_russell_2000_is_read_as_it_was_downloaded(tmp_path: Path) -> None:
    provider = with_members(tmp_path, "R2000", shared_data("constituents", "IWM_holdings_2026-05-05_raw.csv"))
    answer = members(provider, "R2000", date(2021, 12, 31))
    assert answer.as_of_date == date(2026, 5, 5)
    assert 1_850 < len(answer.members) < 2_050
    names = {m.symbol: m for m in answer.members}
    assert names["BE"] == Member("BE", "BLOOM ENERGY CLASS A CORP", "Industrials")
    assert not {"XTSLA", "USD", "-"} & set(names)  # cash and its funds


def test_the_real_wikipedia_page_is_read_as_it_was_saved(tmp_path: Path) -> None:
    pages = sorted(shared_data("wikipedia").glob("*.html*"))
    answer = members(with_members(tmp_path, "SP500", pages[0]), "SP500", date(2026, 5, 5))
    assert {"BRK.B", "BF.B", "AAPL"} < {m.symbol for m in answer.members}


def test_splits_and_dividends_come_with_the_bars_of_their_symbol(tmp_path: Path) -> None:
    files = BARS | {
        "s.csv": (
            "symbol,ex_date,numerator,denominator,ratio\nA,2021-01-05,2,1,\nB,2021-01-06,,,1/10\nC,2021-01-06,3,2,\n"
        ),
        "d.csv": "symbol,ex_date,amount\nA,2021-01-05,0.22\n",
        "i.csv": "symbol,currency\nA,eur\n",
    }
    declaration = RAW + '[actions]\nsplits = "s.csv"\ndividends = "d.csv"\n[instruments]\npath = "i.csv"\n'
    (answer,) = ask(FilesProvider(folder(tmp_path, declaration, files)), "AB", WEEK)
    assert answer.splits == (
        Split("A", date(2021, 1, 5), Fraction(2)),
        Split("B", date(2021, 1, 6), Fraction(1, 10)),
    )
    assert answer.dividends == (Dividend("A", date(2021, 1, 5), 0.22, "EUR"),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("symbol,ex_date,ratio\nA,2021-01-05,0\n", "row 2, column 'ratio': '0' is not positive"),
        ("symbol,ex_date,numerator,denominator\nA,2021-01-05,2,\n", "row 2, column 'denominator': is empty"),
        ("symbol,ex_date,ratio\nA,,2\n", "row 2, column 'ex_date': is empty"),
        ("symbol,date,ratio\nA,2021-01-05,2\n", "row 1, column 'ex_date': missing"),
    ],
)
def test_a_wrong_split_names_row_and_column_before_anything_is_served(tmp_path: Path, text: str, says: str) -> None:
    declaration = RAW + '[actions]\nsplits = "s.csv"\n'
    with pytest.raises(ConfigurationError) as error:
        ask(FilesProvider(folder(tmp_path, declaration, BARS | {"s.csv": text})), "A", WEEK)
    assert f"s.csv: {says}" in str(error.value)


def test_split_adjusted_bars_become_raw_with_the_declared_splits(tmp_path: Path) -> None:
    declaration = RAW.replace("raw", "split") + 'basis_date = 2021-06-30\n[actions]\nsplits = "s.csv"\n'
    splits = "symbol,ex_date,ratio\nA,2021-01-05,2\nA,2021-03-01,3\nA,2021-07-01,7\n"  # the last one is not contained
    (answer,) = ask(FilesProvider(folder(tmp_path, declaration, BARS | {"s.csv": splits})), "AB", WEEK)
    assert (answer.basis, answer.basis_date) == (Basis.RAW, None)
    assert answer.bars.close.tolist() == [15 * 6, 7.5 * 3, 1]
    np.testing.assert_allclose(answer.bars.volume, [100 / 6, 200 / 3, 1])


def test_real_adjusted_prices_become_the_prices_that_really_traded(tmp_path: Path) -> None:
    table = pq.read_table(shared_data("raw_and_actions", "raw_adjusted_dividends_splits.parquet")).to_pandas()
    ibkr = table[table["symbol"] == "IBKR"].sort_values("date")
    (event,) = ibkr[ibkr["splitfactor"] != 1].itertuples()
    before = ibkr["date"] < event.date
    adjusted = ibkr[["symbol", "date", "open", "high", "low", "close", "volume"]].copy()
    for name in ("open", "high", "low", "close"):
        adjusted[name] = adjusted[name].where(~before, adjusted[name] / event.splitfactor)
    adjusted["volume"] = adjusted["volume"].where(~before, adjusted["volume"] * event.splitfactor)
    files = {
        "bars.csv": adjusted.to_csv(index=False),
        "s.csv": f"symbol,ex_date,ratio\nIBKR,{event.date},{event.splitfactor}\n",
    }
    declaration = RAW.replace("raw", "split") + 'basis_date = 2026-03-31\n[actions]\nsplits = "s.csv"\n'
    sessions = ibkr["date"].to_numpy().astype("datetime64[D]")
    (answer,) = ask(FilesProvider(folder(tmp_path, declaration, files)), ["IBKR"], sessions)
    assert len(answer.bars) == len(ibkr) > 400
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_allclose(getattr(answer.bars, name), ibkr[name], rtol=1e-12)


def test_listings_say_what_the_folder_knows(tmp_path: Path) -> None:
    declaration = RAW + 'kind = "fund"\n[instruments]\npath = "i.csv"\n'
    files = BARS | {"i.csv": "symbol,name,listed_on,delisted_on,kind\nB,Bee,2001-02-03,2021-01-06,index\nQ,Queue,,,\n"}
    provider = FilesProvider(folder(tmp_path, declaration, files))
    first, last = date(2021, 1, 4), date(2021, 1, 5)
    assert provider.listings() == (
        Listing("A", Kind.FUND, first_bar=first, last_bar=last),
        Listing("B", Kind.INDEX, "Bee", "USD", date(2001, 2, 3), date(2021, 1, 6), last, last),
    )

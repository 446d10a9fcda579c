"""Renames and reuses that a folder declares, and what it holds under an earlier name."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.providers.answers import SymbolChange
from quantmatrix_pipeline.providers.vendors.files import FilesProvider
from quantmatrix_pipeline_tests.unit.providers.vendors.folders import HEADER, RAW, ask, days, folder

WEEK = days("2022-06-06", "2022-06-10")
NAMES = "[symbols]\nrenames = 'renames.csv'\n"
RENAMES = "old,new,date\nFB,META,2022-06-09\n"


def bar(symbol: str, day: int, close: float) -> str:
    return f"{symbol},2022-06-{day:02},{close},{close},{close},{close},1\n"


def closes(provider: FilesProvider, symbol: str) -> dict[int, float]:
    (answer,) = ask(provider, [symbol], WEEK)
    own = answer.bars
    return {day.item().day: close for day, close in zip(own.session, own.close.tolist(), strict=True)}


def test_the_bars_of_the_earlier_name_stand_under_the_later_one_and_another_bearers_do_not(tmp_path: Path) -> None:
    fund = "".join(bar("META", day, 12) for day in (6, 7))
    own = bar("FB", 6, 190) + bar("FB", 8, 192) + bar("META", 9, 193) + bar("META", 10, 194)
    folder(tmp_path, RAW + NAMES, {"bars.csv": f"{HEADER}\n{fund}{own}", "renames.csv": RENAMES})
    provider = FilesProvider(tmp_path)
    assert closes(provider, "META") == {6: 190, 8: 192, 9: 193, 10: 194}
    assert closes(provider, "FB") == {6: 190, 8: 192}, "who does not know of the rename yet asks by the earlier name"
    spans = {x.symbol: (x.first_bar, x.last_bar) for x in provider.listings()}
    assert spans == {
        "FB": (date(2022, 6, 6), date(2022, 6, 8)), "META": (date(2022, 6, 6), date(2022, 6, 10))
    }  # fmt: skip


def test_where_nothing_stands_under_the_earlier_name_the_past_of_the_later_is_its_own(tmp_path: Path) -> None:
    own = "".join(bar("META", day, 184 + day) for day in (6, 8, 9))
    folder(tmp_path, RAW + NAMES, {"bars.csv": f"{HEADER}\n{own}", "renames.csv": RENAMES})
    assert closes(FilesProvider(tmp_path), "META") == {6: 190, 8: 192, 9: 193}


def test_who_was_renamed_twice_is_found_under_the_last_name_in_whatever_files_it_lies(tmp_path: Path) -> None:
    files = {
        "bars/1.csv": f"{HEADER}\n{bar('A', 6, 1)}",
        "bars/2.csv": f"{HEADER}\n{bar('B', 8, 2)}",
        "bars/3.csv": f"{HEADER}\n{bar('C', 10, 3)}",
        "renames.csv": "old,new,date\nB,C,2022-06-09\nA,B,2022-06-07\n",
        "splits.csv": "symbol,ex_date,ratio\nA,2022-06-06,2\nB,2022-06-08,3\n",
        "dividends.csv": "symbol,ex_date,amount\nA,2022-06-06,0.5\nA,2022-06-06,0.5\n",
    }
    (tmp_path / "bars").mkdir()
    declared = (
        RAW.replace("bars.csv", "bars") + "[actions]\nsplits = 'splits.csv'\ndividends = 'dividends.csv'\n" + NAMES
    )
    folder(tmp_path, declared, files)
    provider = FilesProvider(tmp_path)
    assert closes(provider, "C") == {6: 1, 8: 2, 10: 3}
    (answer,) = ask(provider, ["C"], WEEK)
    assert [(s.symbol, s.ex_date.day, s.ratio) for s in answer.splits] == [("C", 6, 2), ("C", 8, 3)]
    assert [(d.symbol, d.amount) for d in answer.dividends] == [("C", 0.5), ("C", 0.5)]


def test_changes_are_handed_on_by_day_and_a_name_is_given_up_before_it_is_taken(tmp_path: Path) -> None:
    files = {
        "bars.csv": f"{HEADER}\n{bar('A', 6, 1)}",
        "renames.csv": RENAMES + "Q,IQV,2017-11-15\n",
        "reuses.csv": "symbol,date,name\nFB,2022-06-09,Another\nQ,2025-11-03,\n",
    }
    folder(tmp_path, RAW + NAMES + "reuses = 'reuses.csv'\n", files)
    assert FilesProvider(tmp_path).symbol_changes() == (
        SymbolChange("Q", date(2017, 11, 15), "IQV"),
        SymbolChange("FB", date(2022, 6, 9), "META"),
        SymbolChange("FB", date(2022, 6, 9), None, "Another"),
        SymbolChange("Q", date(2025, 11, 3)),
    )


@pytest.mark.parametrize(
    ("renames", "says"),
    [
        ("old,new\nFB,META\n", "column 'date': missing"),
        ("old,new,date\nFB,FB,2022-06-09\n", "row 2, column 'new': FB is what it was called before"),
        (RENAMES + "FB,MVRS,2022-06-09\n", "row 3, column 'new': another row has FB become META"),
        ("old,new,date\nFB,M E T A,2022-06-09\n", "row 2, column 'new': 'M E T A' is no symbol"),
        ("old,new,date\nFB,META,09/06/2022\n", "row 2, column 'date': '09/06/2022' is no ISO date"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, renames: str, says: str) -> None:
    folder(tmp_path, RAW + NAMES, {"bars.csv": f"{HEADER}\n{bar('A', 6, 1)}", "renames.csv": renames})
    with pytest.raises(ConfigurationError) as error:
        FilesProvider(tmp_path).symbol_changes()
    assert says in str(error.value)

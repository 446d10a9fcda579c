from __future__ import annotations

from pathlib import Path

import pytest

from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.providers.vendors.files import FilesProvider
from quantmatrix_pipeline_tests.unit.providers.vendors.folders import HEADER, RAW, ask, days, folder, rows

BAR = f"{HEADER}\nA,2021-01-04,1,2,0.5,1.5,1\n"
WEEK = days("2021-01-04", "2021-01-08")


def refusal(tmp_path: Path, declaration: str) -> str:
    folder(tmp_path, declaration, {"bars.csv": BAR, "members.csv": "symbol\nA\n"})
    with pytest.raises(ConfigurationError) as error:
        FilesProvider(tmp_path)
    return str(error.value)


@pytest.mark.parametrize(
    ("declaration", "says"),
    [
        ("", "[[bars]]"),
        ("[[bars", "no valid TOML"),
        (RAW + "bassis = 1\n", "bars[1].bassis"),
        (RAW + "[baars]\n", "baars"),
        (RAW + "[constituents]\nSP501 = 'members.csv'\n", "constituents.SP501"),
        (RAW + "[constituents]\nSP500 = 'gone.csv'\n", "gone.csv"),
        (RAW + "[symbols]\nrename = 'members.csv'\n", "symbols.rename"),
        (RAW + "[symbols]\nrenames = 'gone.csv'\n", "gone.csv"),
        (RAW + "[membership]\nSP500 = 'members.csv'\n", "[membership.SP500]"),
        (RAW + "[membership.SP500]\n", "membership.SP500: needs one of spells, members, years, lists"),
        (RAW + "[membership.SP500]\nspells = 'members.csv'\nyears = '*.csv'\n", "has 2"),
        (RAW + "[membership.SP500]\nspells = 'members.csv'\nname = 'x'\n", "membership.SP500.name"),
        (RAW + "[membership.SP500]\nspells = 'members.csv'\nto = '2021-01-01'\n", "unquoted"),
        (RAW + "[membership.SP500]\nmembers = 'members.csv'\n", "membership.SP500.on"),
        (RAW + "[membership.SP500]\nyears = '*.yaml'\n", "'*.yaml' matches no file"),
        (RAW + "[actions]\nsplit = 'members.csv'\n", "actions.split"),
        (RAW.replace("raw", "adjusted"), "raw | split | split_dividend"),
        (RAW.replace("raw", "split"), "bars[1].basis_date"),
        (RAW + "basis_date = 2021-01-01\n", "bars[1].basis_date"),
        (RAW + "basis_date = '2021-01-01'\n", "unquoted"),
        (RAW + "kind = 'bond'\n", "stock | fund | index | crypto"),
        (RAW + "currency = 'dollars'\n", "bars[1].currency"),
        (RAW + "symbols = 'A'\n", "bars[1].symbols"),
        (RAW + "symbols = ['<A>']\n", "<A>"),
        (RAW.replace("bars.csv", "*.parquet"), "*.parquet"),
        (RAW + RAW.replace("bars.csv", "no/such/folder"), "bars[2].path"),
    ],
)
def test_a_wrong_declaration_names_its_key(tmp_path: Path, declaration: str, says: str) -> None:
    message = refusal(tmp_path, declaration)
    assert says in message
    assert "source.toml" in message


def test_a_folder_that_is_not_there_or_declares_nothing_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"QM_FILES_DIR.*no such folder"):
        FilesProvider(tmp_path / "gone")
    with pytest.raises(ConfigurationError, match=r"QM_FILES_DIR.*source\.toml"):
        FilesProvider(tmp_path)


def test_files_are_named_by_file_folder_pattern_or_absolute_path(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "away.csv").write_text(BAR.replace("A,", "D,"))
    declaration = "".join(
        RAW.replace("bars.csv", p) for p in ("bars.csv", "folder", "year/20*.csv", str(tmp_path / "away*.csv"))
    )
    files = {"bars.csv": BAR, "folder/b.csv": BAR.replace("A,", "B,"), "year/2021.csv": BAR.replace("A,", "C,")}
    provider = FilesProvider(folder(home, declaration, files | {"folder/readme.txt": "no bars", "year/old.csv": "x"}))
    assert rows(ask(provider, "ABCD", WEEK)) == {(s, "2021-01-04", 1.5) for s in "ABCD"}


def test_a_symbol_on_two_bases_is_refused_until_one_is_chosen(tmp_path: Path) -> None:
    split = '[[bars]]\npath = "split.csv"\nbasis = "split"\nbasis_date = 2021-02-01\n'
    both = BAR + "B,2021-01-04,1,2,0.5,1.7,1\n"
    folder(tmp_path, RAW + split, {"bars.csv": BAR, "split.csv": both})
    with pytest.raises(ConfigurationError, match="A stands in files of different basis"):
        FilesProvider(tmp_path).listings()
    folder(tmp_path, RAW + split + 'symbols = ["B"]\n', {})
    answers = ask(FilesProvider(tmp_path), "AB", WEEK)
    assert {(a.basis.value, *rows([a])) for a in answers} == {
        ("raw", ("A", "2021-01-04", 1.5)),
        ("split", ("B", "2021-01-04", 1.7)),
    }


def test_crypto_has_its_weekends_only_when_asked_for(tmp_path: Path) -> None:
    text = "\n".join([HEADER, *(f"BTC-USD,2021-01-{d:02},1,2,0.5,1,1" for d in range(4, 11))])
    provider = FilesProvider(folder(tmp_path, RAW + 'kind = "crypto"\n', {"bars.csv": text}))
    assert len(rows(ask(provider, ["BTC-USD"], WEEK))) == 5
    assert provider.newest_session(WEEK[-1].item().replace(day=31)).day == 10

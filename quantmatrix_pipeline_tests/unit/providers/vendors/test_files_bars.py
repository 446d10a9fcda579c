"""What becomes of the bars of a folder: sound ones served, odd ones handed on, unreadable files named."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline.errors import ConfigurationError, MalformedResponse, SymbolNotFound
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.vendors.files import FilesProvider
from quantmatrix_pipeline_tests.shared_data import shared_data
from quantmatrix_pipeline_tests.unit.providers.vendors.folders import HEADER, RAW, ask, days, fetch, folder, rows

WEEK = days("2021-01-04", "2021-01-08")
SOUND = f"{HEADER}\nAAPL,2021-01-04,1,2,0.5,1.5,100\nAAPL,2021-01-05,1,2,0.5,1.6,100\nMSFT,2021-01-04,5,6,4,5.5,7\n"


def test_only_the_requested_sessions_of_the_requested_symbols_are_served(tmp_path: Path) -> None:
    provider = FilesProvider(folder(tmp_path, RAW, {"bars.csv": SOUND}))
    asked = [BarRequest("AAPL", WEEK[1:2]), BarRequest("MSFT", WEEK)]
    assert rows(fetch(provider, asked)) == {("AAPL", "2021-01-05", 1.6), ("MSFT", "2021-01-04", 5.5)}


@pytest.mark.parametrize("name", ["bars.csv", "bars.csv.gz", "bars.parquet"])
def test_every_format_gives_the_same_bars(tmp_path: Path, name: str) -> None:
    folder(tmp_path, RAW.replace("bars.csv", name), {})
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(SOUND.encode()))
    elif name.endswith(".parquet"):
        cells = [line.split(",") for line in SOUND.splitlines()[1:]]
        columns: dict[str, list[object]] = {"Symbol": [c[0] for c in cells], "DATE": [c[1] for c in cells]}
        columns |= {n: [float(c[at]) for c in cells] for at, n in enumerate(HEADER.split(",")) if at > 1}
        pq.write_table(pa.table(columns), tmp_path / name)
    else:
        (tmp_path / name).write_text(SOUND)
    expected = {("AAPL", "2021-01-04", 1.5), ("AAPL", "2021-01-05", 1.6), ("MSFT", "2021-01-04", 5.5)}
    assert rows(ask(FilesProvider(tmp_path), ["AAPL", "MSFT"], WEEK)) == expected


def test_columns_stand_in_any_case_and_order_and_others_are_ignored(tmp_path: Path) -> None:
    text = "Volume,CLOSE,adj close,Low,High,Open,Date,Ticker\n100,1.5,9,0.5,2,1,2021-01-04,brk-b\n"
    (answer,) = ask(FilesProvider(folder(tmp_path, RAW, {"bars.csv": text})), ["BRK.B"], WEEK)
    bars = answer.bars
    values = [float(c[0]) for c in (bars.open, bars.high, bars.low, bars.close, bars.volume)]
    assert values == [1, 2, 0.5, 1.5, 100]


def test_a_file_without_a_symbol_column_is_the_symbol_of_its_name(tmp_path: Path) -> None:
    text = "date,open,high,low,close,volume\n2021-01-04,1,2,0.5,1.5,100\n"
    declaration = '[[bars]]\npath = "daily"\nbasis = "raw"\n'
    provider = FilesProvider(folder(tmp_path, declaration, {"daily/BRK-B.csv": text, "daily/aapl.csv": text}))
    assert rows(ask(provider, ["AAPL", "BRK.B"], WEEK)) == {
        ("AAPL", "2021-01-04", 1.5),
        ("BRK.B", "2021-01-04", 1.5),
    }


def test_bars_that_break_the_rules_pass_through_to_be_judged(tmp_path: Path) -> None:
    text = (
        f"{HEADER}\nA,2021-01-04,1,0.5,2,1,1\nA,2021-01-04,1,2,0.5,1,1\nA,2021-01-05,-1,2,0.5,,-7\n"
        "A,2021-01-06,NaN,2,0.5,1,null\nA,2021-01-09,1,2,0.5,1,1\n"
    )
    (answer,) = ask(FilesProvider(folder(tmp_path, RAW, {"bars.csv": text})), ["A"], WEEK)
    assert Counter(map(str, answer.bars.session)) == {
        "2021-01-04": 2,  # a duplicate
        "2021-01-05": 1,  # negative, with a hole
        "2021-01-06": 1,  # NaN
        "2021-01-09": 1,  # a Saturday
    }
    assert np.isnan(answer.bars.close).sum() == 1
    assert answer.unreadable == ()


def test_a_row_that_is_no_bar_is_handed_on_with_file_row_and_payload_and_the_sound_ones_stay(tmp_path: Path) -> None:
    text = (
        f"{HEADER}\nA,2021-01-04,1,2,0.5,1.5,1\nA,2021-01-05,1,two,0.5,1.5,1\nA,2021-02-30,1,2,0.5,1.5,1\n"
        "A,2021-01-06,1,2\n\n<<>>,2021-01-06,1,2,0.5,1.5,1\nA,2021-01-07,1,2,0.5,1.7,1\n"
    )
    (answer,) = ask(FilesProvider(folder(tmp_path, RAW, {"bars.csv": text})), ["A"], WEEK)
    assert rows([answer]) == {("A", "2021-01-04", 1.5), ("A", "2021-01-07", 1.7)}
    assert {(r.payload["row"], r.reason, r.symbol, r.session) for r in answer.unreadable} == {
        (3, "wrong_type", "A", date(2021, 1, 5)),
        (4, "bad_date", "A", None),
        (5, "unreadable_row", None, None),
        (7, "bad_symbol", None, date(2021, 1, 6)),
    }
    wrong = next(r for r in answer.unreadable if r.reason == "wrong_type")
    assert wrong.detail == "bars.csv: row 3, column 'high': 'two'"
    assert wrong.payload["high"] == "two"


def test_an_open_quote_does_not_swallow_the_rows_after_it(tmp_path: Path) -> None:
    text = SOUND.replace("MSFT", '"MSFT\nAAPL,2021-01-06,1,2,0.5,1.8,1\nMSFT')
    (answer,) = ask(FilesProvider(folder(tmp_path, RAW, {"bars.csv": text})), ["AAPL", "MSFT"], WEEK)
    assert len(answer.bars) == 4
    assert [r.payload["line"] for r in answer.unreadable] == ['"MSFT']


@pytest.mark.parametrize("part", [0.2, 0.5, 0.99])
def test_a_truncated_parquet_is_refused_with_its_name_and_the_other_files_go_on(tmp_path: Path, part: float) -> None:
    declaration = '[[bars]]\npath = "*.csv"\nbasis = "raw"\n[[bars]]\npath = "*.parquet"\nbasis = "raw"\n'
    folder(tmp_path, declaration, {"bars.csv": SOUND})
    columns = {n: pa.array(np.arange(1000.0)) for n in ("open", "high", "low", "close", "volume")}
    start = np.datetime64("2018-01-01", "D")
    table = pa.table({"symbol": ["X"] * 1000, "date": pa.array(start + np.arange(1000)), **columns})
    pq.write_table(table, tmp_path / "rest.parquet")
    whole = (tmp_path / "rest.parquet").read_bytes()
    (tmp_path / "rest.parquet").write_bytes(whole[: int(len(whole) * part)])

    (answer,) = ask(FilesProvider(tmp_path), ["AAPL", "X"], WEEK)
    assert len(answer.bars) == 2
    assert isinstance(answer.failures["X"], MalformedResponse)
    assert "rest.parquet" in str(answer.failures["X"])
    (report,) = answer.unreadable
    assert report.reason == "unreadable_file"
    assert report.payload == {"file": "rest.parquet"}


def test_an_unknown_symbol_is_a_failure_of_its_own(tmp_path: Path) -> None:
    (answer,) = ask(FilesProvider(folder(tmp_path, RAW, {"bars.csv": SOUND})), ["AAPL", "NOPE"], WEEK)
    assert set(answer.failures) == {"NOPE"}
    assert isinstance(answer.failures["NOPE"], SymbolNotFound)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("symbol,date,open,high,low,volume\nA,2021-01-04,1,2,0.5,1\n", ["row 1", "'close'", "missing"]),
        ("symbol,day,open,high,low,close,volume\nA,2021-01-04,1,2,0.5,1,1\n", ["row 1", "'date'", "missing"]),
        (f"{HEADER},close\nA,2021-01-04,1,2,0.5,1,1,1\n", ["row 1", "'close'", "twice"]),
        (f"{HEADER}\nA,01/04/2021,1,2,0.5,1,1\nA,01/05/2021,1,2,0.5,1,1\n", ["row 2", "'date'", "01/04/2021"]),
        (f"{HEADER}\nA,2021-01-04,x,2,0.5,1,1\nA,2021-01-05,y,2,0.5,1,1\n", ["row 2", "'open'", "'x' is no number"]),
    ],
)
def test_a_wrong_layout_names_file_row_and_column_before_anything_is_served(
    tmp_path: Path, text: str, says: list[str]
) -> None:
    provider = FilesProvider(folder(tmp_path, RAW, {"bars.csv": text}))
    with pytest.raises(ConfigurationError) as error:
        ask(provider, ["A"], WEEK)
    for part in ["bars.csv", HEADER, *says]:
        assert part in str(error.value)


def test_a_folder_without_one_readable_bar_is_one_clear_error(tmp_path: Path) -> None:
    provider = FilesProvider(folder(tmp_path, RAW, {"bars.csv": "404 Not Found\n"}))
    with pytest.raises(ConfigurationError, match=r"not one readable bar.*bars\.csv") as error:
        provider.listings()
    assert "\n" not in str(error.value)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    provider = FilesProvider(folder(tmp_path, RAW, {"bars.csv": SOUND}))
    assert provider.newest_session(date(2021, 12, 31)) == date(2021, 1, 5)
    (tmp_path / "bars.csv").write_text(SOUND + "AAPL,2021-01-06,1,2,0.5,1.7,100\n")
    assert provider.newest_session(date(2021, 12, 31)) == date(2021, 1, 6)


def test_an_unchanged_file_is_read_once(tmp_path: Path) -> None:
    provider = FilesProvider(folder(tmp_path, RAW, {"bars.csv": SOUND}))
    provider.listings()
    stat = (tmp_path / "bars.csv").stat()
    (tmp_path / "bars.csv").write_text(SOUND.replace("1.5", "9.9"))  # same size, and then the same time
    os.utime(tmp_path / "bars.csv", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert ("AAPL", "2021-01-04", 1.5) in rows(ask(provider, ["AAPL"], WEEK))


def test_another_source_of_an_unchanged_folder_knows_its_newest_session_without_reading(
    tmp_path: Path,
) -> None:
    closed = date(2021, 12, 31)
    FilesProvider(folder(tmp_path, RAW, {"bars.csv": SOUND})).newest_session(closed)
    stat = (tmp_path / "bars.csv").stat()
    (tmp_path / "bars.csv").write_text("x" * stat.st_size)
    os.utime(tmp_path / "bars.csv", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert FilesProvider(tmp_path).newest_session(closed) == date(2021, 1, 5)
    assert FilesProvider(tmp_path).newest_session(closed) == date(2021, 1, 5)
    with pytest.raises(ConfigurationError, match="not one readable bar"):
        FilesProvider(tmp_path).newest_session(date(2021, 1, 4))  # another question


def test_a_changed_declaration_is_a_changed_folder(tmp_path: Path) -> None:
    saturday = "BTC,2021-01-09,1,2,0.5,1.7,1\n"
    stocks = folder(tmp_path, RAW, {"bars.csv": SOUND + saturday})
    assert FilesProvider(stocks).newest_session(date(2021, 1, 29)) == date(2021, 1, 5)
    (tmp_path / "source.toml").write_text(RAW + 'kind = "crypto"\n')
    assert FilesProvider(stocks).newest_session(date(2021, 1, 29)) == date(2021, 1, 9)


def test_the_newest_session_is_no_weekend_and_not_after_the_last_closed_one(tmp_path: Path) -> None:
    text = SOUND + "AAPL,2021-01-09,1,2,0.5,1.7,1\nAAPL,2031-01-06,1,2,0.5,1.7,1\n"
    provider = FilesProvider(folder(tmp_path, RAW, {"bars.csv": text}))
    assert provider.newest_session(date(2021, 1, 29)) == date(2021, 1, 5)
    with pytest.raises(ConfigurationError, match="QM_NOW"):
        provider.newest_session(date(2020, 1, 1))


def test_a_part_holds_at_most_512_symbols(tmp_path: Path) -> None:
    names = [f"S{n}" for n in range(1100)]
    text = HEADER + "\n" + "".join(f"{s},2021-01-04,1,2,0.5,1,1\n" for s in names)
    answers = ask(FilesProvider(folder(tmp_path, RAW, {"bars.csv": text})), names, WEEK)
    assert [len(a.bars.symbols) for a in answers] == [512, 512, 76]
    assert {s for a in answers for s in a.bars.symbols} == set(names)


def test_the_real_files_of_a_broken_cron_job_give_their_sound_rows_and_account_for_the_others(tmp_path: Path) -> None:
    bad = shared_data("bad_rows")
    declaration = f'[[bars]]\npath = "{bad}/*.csv"\nbasis = "split"\nbasis_date = 2024-08-08\n'
    provider = FilesProvider(folder(tmp_path, declaration, {}))
    sessions = days("1999-12-31", "2024-08-08")
    (answer,) = ask(provider, ["CCL", "BRK.B", "ZTS"], sessions)
    # 750 lines: a header, 604 bars, 137 lines of an HTML page that a failed request left in the middle, 8 blank ones
    lines = (bad / "CCL.csv").read_text().splitlines()
    bars = [line for line in lines[1:] if line[:4].isdigit()]
    odd = [line for line in lines[1:] if line.strip() and not line[:4].isdigit()]
    assert len(answer.bars) == len(bars)
    assert len([r for r in answer.unreadable if r.symbol == "CCL"]) == len(odd)
    assert {s: type(e) for s, e in answer.failures.items()} == {"BRK.B": MalformedResponse, "ZTS": MalformedResponse}
    assert "404 Not Found" in " ".join(r.detail for r in answer.unreadable)


def test_a_real_file_that_lost_its_header_is_read_with_declared_columns(tmp_path: Path) -> None:
    path = shared_data("bad_rows", "ZTS.csv")
    columns = '["date", "open", "high", "low", "close", "adj close", "volume"]'
    declaration = f'[[bars]]\npath = "{path}"\nbasis = "split"\nbasis_date = 2024-08-08\ncolumns = {columns}\n'
    (answer,) = ask(FilesProvider(folder(tmp_path, declaration, {})), ["ZTS"], days("2020-01-01", "2024-08-08"))
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    assert len(answer.bars) == 415
    assert len(answer.bars) + len(answer.unreadable) == len(lines)


def test_the_real_500_times_5_years_are_served_whole(tmp_path: Path) -> None:
    path = shared_data("daily", "us_daily_2015_2021.parquet")
    declaration = f'[[bars]]\npath = "{path}"\nbasis = "split"\nbasis_date = 2024-03-31\n'
    provider = FilesProvider(folder(tmp_path, declaration, {}))
    assert provider.newest_session(date(2026, 11, 20)) == date(2021, 12, 31)
    listings = provider.listings()
    assert len(listings) == 648
    answers = ask(provider, [listing.symbol for listing in listings], days("2015-01-02", "2021-12-31"))
    assert sum(len(a.bars) for a in answers) == 1_085_524 == pq.ParquetFile(path).metadata.num_rows
    assert {(a.basis, a.basis_date) for a in answers} == {(Basis.SPLIT, date(2024, 3, 31))}

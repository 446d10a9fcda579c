"""What is put on a page of the Dagster UI stays short, however much there is to say."""

from __future__ import annotations

from quantmatrix_pipeline.assets.metadata import LONGEST_TEXT, SHOWN_NAMES, SHOWN_ROWS, listed, short, table


def test_a_list_of_names_shows_the_first_and_says_how_many_there_are() -> None:
    names = [f"20260101T0300{n:02}Z" for n in range(SHOWN_NAMES + 1)]
    assert listed([]) == "none"
    assert listed(names[:-1]) == ", ".join(names[:-1])
    assert listed(names) == ", ".join(names[:-1]) + ", ... (51)"
    assert len(listed(names * 200)) < 2000


def test_a_long_text_is_cut_and_a_table_shows_its_first_rows() -> None:
    assert short("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT
    assert (len(short("x" * 9999)), short("x" * 9999)[-4:]) == (LONGEST_TEXT, " ...")
    assert len(table({"n": n} for n in range(99)).records) == SHOWN_ROWS

"""The benchmarks' data set: what the folder holds is what the files source serves, real or generated."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from quantmatrix_pipeline.bars import rules
from quantmatrix_pipeline.bars.batch import BarBatch
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.bench.dataset import BENCHMARK, DAILY, FIRST, LAST, Dataset, data_folder, write_folder
from quantmatrix_pipeline.bench.measure import Samples
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.vendors.files.provider import FilesProvider
from quantmatrix_pipeline_tests.shared_data import shared_data

CALENDAR = trading_calendar("XNYS")
SESSIONS = CALENDAR.sessions_in(FIRST, LAST)


def served(dataset: Dataset) -> BarBatch:
    """Return all bars of the data set, as the files source hands them over, sorted by symbol and session."""
    requests = [BarRequest(symbol, SESSIONS) for symbol in (*dataset.symbols, BENCHMARK)]

    async def collect() -> list[BarBatch]:
        provider = FilesProvider(dataset.folder)
        return [answer.bars async for answer in provider.daily_bars(requests, concurrency=1)]

    batch = BarBatch.concat(asyncio.run(collect()))
    return batch.take(np.lexsort((batch.session, batch.symbol_index)))


def test_generated_bars_fill_every_session_and_break_no_rule(tmp_path: Path) -> None:
    dataset = write_folder(tmp_path / "source", symbols=7, source=tmp_path / "nothing here")
    bars = served(dataset)
    verdict = rules.validate(
        rules.BarRows(
            instrument_index=bars.symbol_index,
            session=bars.session,
            open=bars.open,
            high=bars.high,
            low=bars.low,
            close=bars.close,
            volume=bars.volume,
            unit=np.ones(len(bars)),
            is_new=np.ones(len(bars), bool),
            without_volume=np.zeros(len(bars.symbols), bool),
        ),
        CALENDAR,
    )
    assert not dataset.real
    assert "SYNTHETIC" in dataset.description
    assert len(bars) == 8 * len(SESSIONS)
    assert not verdict.rejected.any()


def test_generated_bars_are_the_same_every_time(tmp_path: Path) -> None:
    once, again = (write_folder(tmp_path / name, symbols=3, source=tmp_path) for name in ("once", "again"))
    assert np.array_equal(served(once).close, served(again).close)


def test_the_real_symbols_are_the_first_by_name_that_have_every_session(tmp_path: Path) -> None:
    dataset = write_folder(tmp_path / "source", symbols=40, source=shared_data(*DAILY.parts).parents[1])
    bars = served(dataset)
    assert dataset.real
    assert list(dataset.symbols) == sorted(set(dataset.symbols))
    assert dataset.symbols[:2] == ("A", "AAL")
    assert np.bincount(bars.symbol_index).tolist() == [len(SESSIONS)] * 41


def test_more_symbols_than_the_real_file_has_are_refused_with_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="5000 are needed"):
        write_folder(tmp_path / "source", symbols=5000, source=shared_data(*DAILY.parts).parents[1])


def test_a_named_folder_without_the_bars_is_an_error_and_no_reason_to_generate_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_BENCH_DATA", str(tmp_path))
    with pytest.raises(ConfigurationError, match="QM_BENCH_DATA"):
        data_folder()


def test_ratios_are_taken_within_a_turn_before_the_median() -> None:
    slow_machine_in_the_middle = Samples((1.0, 8.0, 1.0)), Samples((2.0, 16.0, 2.0))
    own, peer = slow_machine_in_the_middle
    assert own.over(peer).values == (0.5, 0.5, 0.5)
    assert own.rate(16).values == (16.0, 2.0, 16.0)
    assert (own.median, own.low, own.high) == (1.0, 1.0, 8.0)

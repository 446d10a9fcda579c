"""Small folders of files, and what the tests ask of a source."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from quantmatrix_pipeline.bars.batch import Dates
from quantmatrix_pipeline.bars.schema import check_batch
from quantmatrix_pipeline.providers.answers import DailyAnswer
from quantmatrix_pipeline.providers.contract import BarRequest, Provider

HEADER = "symbol,date,open,high,low,close,volume"
RAW = '[[bars]]\npath = "bars.csv"\nbasis = "raw"\n'


def folder(path: Path, declaration: str, files: Mapping[str, str]) -> Path:
    """Write a source.toml and the files beside it."""
    (path / "source.toml").write_text(declaration)
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def days(first: str, last: str) -> Dates:
    """Return the weekdays from first to last, both included."""
    span = np.arange(np.datetime64(first, "D"), np.datetime64(last, "D") + 1)
    return span[np.is_busday(span)]


def ask(provider: Provider, symbols: Iterable[str], sessions: Dates, concurrency: int = 2) -> list[DailyAnswer]:
    """Return all parts of an answer."""
    return fetch(provider, [BarRequest(s, sessions) for s in symbols], concurrency)


def fetch(provider: Provider, requests: Sequence[BarRequest], concurrency: int = 2) -> list[DailyAnswer]:
    """Return all parts of an answer, each proved to have the declared columns and types."""

    async def collect() -> list[DailyAnswer]:
        return [part async for part in provider.daily_bars(requests, concurrency=concurrency)]

    answers = asyncio.run(collect())
    for part in answers:
        check_batch(part.bars, part.vendor)
    return answers


def rows(answers: Iterable[DailyAnswer]) -> set[tuple[str, str, float]]:
    """Return (symbol, date, close) of every bar."""
    return {
        (a.bars.symbols[i], str(d), float(c))
        for a in answers
        for i, d, c in zip(a.bars.symbol_index, a.bars.session, a.bars.close, strict=True)
    }

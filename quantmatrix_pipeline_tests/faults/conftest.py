"""The chain's folder, and what an undisturbed run makes of it: what every disturbed one must come to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline_tests.conftest import _database
from quantmatrix_pipeline_tests.faults import chain
from quantmatrix_pipeline_tests.faults.folders import Folder, construct
from quantmatrix_pipeline_tests.fingerprint import counts, fingerprints


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """The chain over a constructed folder, run once in an empty database without any fault."""

    folder: Folder
    arguments: tuple[str, ...]
    fingerprints: dict[str, str]
    counts: dict[str, int]
    seconds: float

    def environment(self, url: str) -> dict[str, str]:
        return {**self.folder.environment(), "QM_DATABASE_URL": url}

    def assert_same(self, url: str) -> None:
        """Hold a warehouse to the same rows in every table."""
        found = fingerprints(url)
        different = sorted(t for t in self.fingerprints.keys() | found if self.fingerprints.get(t) != found.get(t))
        here = counts(url)
        assert not different, {t: (self.counts.get(t), here.get(t)) for t in different}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return construct(tmp_path_factory.mktemp("files") / "folder")


@pytest.fixture(scope="session")
def undisturbed(
    server: EmbeddedServer, folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Undisturbed]:
    arguments = ("run", "--since", str(folder.sessions[-8]))
    chain.run(["version"], {}, tmp_path_factory.mktemp("warm"))  # what is imported only once must not count below
    with contextmanager(_database)(server, "template1") as url:
        started = time.perf_counter()
        chain.run(arguments, {**folder.environment(), "QM_DATABASE_URL": url}, tmp_path_factory.mktemp("undisturbed"))
        seconds = time.perf_counter() - started
        yield Undisturbed(folder, arguments, fingerprints(url), counts(url), seconds)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "qm"

"""No situation of any vendor is left out of the tests, and what is proved with what is said openly."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from quantmatrix_pipeline.settings import VENDORS
from quantmatrix_pipeline_tests import shared_data
from quantmatrix_pipeline_tests.unit.providers.vendors.cases import SITUATIONS, Case, Provenance

MODULES = {"yfinance": "yahoo"}
README = Path(__file__).resolve().parents[4] / "README.md"


def cases_of(vendor: str) -> tuple[Case, ...]:
    module = importlib.import_module(f"{__package__}.test_{MODULES.get(vendor, vendor)}")
    return tuple(case for case in module.CASES if case.vendor == vendor)


def row_of(vendor: str) -> str:
    """Return the README's row of a vendor; each begins with its name in the policies."""
    rows = [line for line in README.read_text().splitlines() if line.startswith(f"| `{vendor}`")]
    assert len(rows) == 1, f"the README's vendor table has {len(rows)} rows of {vendor}"
    return rows[0]


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_situation_of_a_vendor_is_tested_or_said_to_be_impossible(vendor: str) -> None:
    cases = cases_of(vendor)
    assert not set(SITUATIONS) - {case.situation for case in cases}
    for case in cases:
        assert case.source, f"{vendor}, {case.situation}: where does it come from, or why can't it be?"


@pytest.mark.parametrize("vendor", VENDORS)
def test_recorded_answers_name_files_that_are_there(vendor: str) -> None:
    for case in cases_of(vendor):
        if case.provenance is Provenance.RECORDED:
            shared_data.shared_data(*case.source.split()[0].rstrip(",;:").split("/"))


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendor_without_a_recorded_answer_is_called_unproved_in_the_readme(vendor: str) -> None:
    recorded = any(case.provenance is Provenance.RECORDED for case in cases_of(vendor))
    assert bool(re.search(r"\bunproved\b", row_of(vendor))) != recorded

"""Real data that lies beside the checkout in `shared/data`; tests that need it skip visibly where it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("QM_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def shared_data(*parts: str) -> Path:
    """Return a path under the shared data, or skip the test, saying which file is not there."""
    path = ROOT.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real data not beside the checkout: shared/data/{'/'.join(parts)}")
    return path

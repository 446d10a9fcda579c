"""How far a vendor's bars reach, over HTTP."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from quantmatrix_pipeline_tests.api.conftest import SESSION


def test_a_whole_life_reaches_to_its_last_bar(client: TestClient) -> None:
    body = client.get("/ops/cursor/fb/1d/sample").json()
    assert (body["symbol"], body["interval"], body["source"]) == ("FB", "1d", "sample")
    assert (body["first_bar"], body["contiguous_to"]) == ("2012-05-18", str(SESSION))
    assert body["asked_from"] <= body["first_bar"]


@pytest.mark.parametrize("path", ["AAPL/1d/polygon", "BARE/1d/sample", "AAPL/5m/sample", "NOBODY/1d/sample"])
def test_what_was_never_asked_or_never_had_is_404_and_says_so(client: TestClient, path: str) -> None:
    answer = client.get(f"/ops/cursor/{path}")
    assert answer.status_code == 404
    assert path.split("/")[0] in answer.json()["detail"]


@pytest.mark.parametrize("path", ["AAPL/2h/polygon", "AAPL/1d/Poly gon"])
def test_what_is_no_interval_and_no_source_is_refused(client: TestClient, path: str) -> None:
    assert client.get(f"/ops/cursor/{path}").status_code == 422

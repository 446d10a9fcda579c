"""Every body is what the OpenAPI document says it is, in each representation."""

from __future__ import annotations

import copy
import io
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from quantmatrix_pipeline.indicators.catalogue import COLUMNS
from quantmatrix_pipeline_tests.api.conftest import Filled
from quantmatrix_pipeline_tests.api.routes import EVERY_ROUTE, MANY_ROWS
from quantmatrix_pipeline_tests.no_network import only_the_database


def _document(client: TestClient) -> dict[str, Any]:
    document: dict[str, Any] = client.get("/openapi.json").json()
    return document


def _strict(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    """Return a validator of a schema of the document that also refuses what is not declared."""
    components = copy.deepcopy(document["components"])
    for name, component in components["schemas"].items():
        if component.get("type") == "object" and name != "Problem":
            component["additionalProperties"] = False
    return Draft202012Validator({**schema, "components": components})


def test_every_route_of_the_document_is_tried_here(client: TestClient) -> None:
    # Text for Prometheus, which the tests of the vendors' routes read; what takes a key has tests of its own.
    paths = _document(client)["paths"]
    public = {path for path, methods in paths.items() if not all("security" in of for of in methods.values())}
    public.add("/health")  # says more to who has a key, and serves everybody
    assert public == {*EVERY_ROUTE, "/metrics"}


def test_the_bare_address_names_pages_that_are_there(client: TestClient) -> None:
    body = client.get("/").json()
    assert body["name"] == _document(client)["info"]["title"]
    pages = [value for value in body.values() if value.startswith("/")]
    assert {page: client.get(page).status_code for page in pages} == dict.fromkeys(pages, 200)
    assert len(pages) == 4


@pytest.mark.parametrize(("path", "url"), EVERY_ROUTE.items(), ids=EVERY_ROUTE)
def test_a_body_is_what_the_document_says(client: TestClient, path: str, url: str) -> None:
    document = _document(client)
    declared = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    response = client.get(url)
    assert response.status_code == 200
    faults = [f"{list(e.absolute_path)}: {e.message}" for e in _strict(document, declared).iter_errors(response.json())]
    assert faults == []


def test_the_examples_of_the_document_fit_their_own_schemas(client: TestClient) -> None:
    document = _document(client)
    tried = 0
    for name, schema in document["components"]["schemas"].items():
        for example in schema.get("examples", []):
            assert list(_strict(document, {"$ref": f"#/components/schemas/{name}"}).iter_errors(example)) == [], name
            tried += 1
    assert tried >= 5


def test_the_snapshot_schema_has_every_column_of_the_catalogue_with_its_formula(client: TestClient) -> None:
    declared = _document(client)["components"]["schemas"]["Snapshot"]["properties"]
    assert [c.name for c in COLUMNS if not declared.get(c.name, {}).get("description")] == []


@pytest.mark.parametrize("url", MANY_ROWS.values(), ids=MANY_ROWS)
def test_csv_and_arrow_hold_the_rows_of_the_json_body(client: TestClient, url: str) -> None:
    rows = client.get(url).json()["data"]
    assert rows
    arrow = client.get(url, headers={"Accept": "application/vnd.apache.arrow.stream"})
    table = pa.ipc.open_stream(arrow.content).read_all()
    assert arrow.headers["content-type"] == "application/vnd.apache.arrow.stream"
    assert table.column_names == list(rows[0])
    assert [_plain(row) for row in table.to_pylist()] == [_plain(row) for row in rows]
    csv = client.get(url, headers={"Accept": "text/csv"})
    assert csv.headers["content-type"].startswith("text/csv")
    frame = pd.read_csv(io.BytesIO(csv.content))
    assert list(frame.columns) == list(rows[0])
    assert len(frame) == len(rows)
    numeric = [name for name, value in rows[0].items() if type(value) is float]
    expected = pd.DataFrame(rows)[numeric].astype(float)
    pd.testing.assert_frame_equal(frame[numeric].astype(float), expected, check_exact=True)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose dates and instants are text of one form."""
    return {name: _text(value) for name, value in row.items()}


def _text(value: Any) -> Any:
    if isinstance(value, str) and value.endswith("Z") and "T" in value:
        return pd.Timestamp(value).isoformat()
    return value.isoformat() if hasattr(value, "isoformat") else value


def test_a_missing_indicator_is_null_and_no_body_holds_nan(client: TestClient) -> None:
    young = client.get("/api/v1/snapshots/ADJ")
    assert young.json()["sma_200"] is None
    assert young.json()["ma_bucket"] == "UNKNOWN"
    screened = client.get("/api/v1/snapshots")
    assert {row["symbol"]: row["sma_200"] for row in screened.json()["data"]}["ADJ"] is None
    assert "NaN" not in screened.text


def test_no_route_opens_a_connection_to_anything_but_the_database(client: TestClient, filled: Filled) -> None:
    with only_the_database(filled.reader_url) as attempts:
        answers = {path: client.get(url).status_code for path, url in EVERY_ROUTE.items()}
    assert set(answers.values()) == {200}
    assert attempts == []

"""Content negotiation and entity tags."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from quantmatrix_pipeline.api.problems import RequestError
from quantmatrix_pipeline.api.representations import MediaType, negotiate
from quantmatrix_pipeline_tests.api.routes import EVERY_ROUTE

ARROW = MediaType.ARROW.value


@pytest.mark.parametrize(
    ("accept", "served"),
    [
        (None, MediaType.JSON),
        ("", MediaType.JSON),
        ("*/*", MediaType.JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", MediaType.JSON),
        ("TEXT/CSV", MediaType.CSV),
        ("text/*", MediaType.CSV),
        ("application/json;q=0.5, text/csv", MediaType.CSV),
        (f"text/csv;q=0.5, {ARROW};q=0.9, */*;q=0.1", MediaType.ARROW),
        (f"{ARROW}, text/csv", MediaType.ARROW),
        ("text/csv;header=present;q=0.3, application/json;q=0.2", MediaType.CSV),
    ],
)
def test_the_media_type_of_the_highest_weight_is_served(accept: str | None, served: MediaType) -> None:
    assert negotiate(accept) is served


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0", "text/csv;q=much", "nonsense"])
def test_a_header_that_admits_nothing_is_refused(accept: str) -> None:
    with pytest.raises(RequestError, match="text/csv"):
        negotiate(accept)


@pytest.mark.parametrize("url", [url for path, url in EVERY_ROUTE.items() if path != "/health"])
def test_what_the_client_has_already_is_not_sent_again(client: TestClient, url: str) -> None:
    first = client.get(url)
    tag = first.headers["etag"]
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = client.get(url, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    changed = client.get(url, headers={"If-None-Match": '"0123"'})
    assert (changed.status_code, changed.content) == (200, first.content)


def test_each_representation_has_a_tag_of_its_own(client: TestClient) -> None:
    tags = {client.get("/api/v1/snapshots", headers={"Accept": m.value}).headers["etag"] for m in MediaType}
    assert len(tags) == len(MediaType)
    assert client.get("/api/v1/snapshots").headers["vary"] == "Accept"


def test_health_is_never_kept(client: TestClient) -> None:
    response = client.get("/health")
    assert response.headers["cache-control"] == "no-store"
    assert "etag" not in response.headers

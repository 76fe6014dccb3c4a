"""What does not fit a route is refused, with its place."""

import pytest

from tests.control.plane import Plane, raw

BODIES = [
    (b"", "Body of POST /api/v1/clusters"),
    (b"{", "Body of POST /api/v1/clusters"),
    (b'{"name": 7}', "at `$.name`"),
    (b'{"name": "a", "kubeconfg": "x"}', "unknown field `kubeconfg`"),
    (b'{"kubeconfig": "x"}', "missing required field `name`"),
    (b'{"name": "' + b"x" * 64 + b'"}', "at `$.name`"),
    (b'{"name": "A b", "kubeconfig": "x"}', "'A b' is not a cluster name"),
    (b'{"name": "a"}', "either a kubeconfig or inCluster"),
]


@pytest.mark.parametrize(("body", "said"), BODIES)
def test_bad_bodies_are_refused_with_the_place(shared: Plane, body: bytes, said: str) -> None:
    status, _, problem = raw(shared, "POST", "/api/v1/clusters", body)
    assert status == 400
    assert said in problem["detail"]


def test_a_body_has_a_limit(shared: Plane) -> None:
    status, _, problem = raw(shared, "POST", "/api/v1/clusters", b" " * (1024 * 1024 + 1))
    assert status == 413
    assert problem["type"] == "urn:kubewitness:too-large"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_forms_of_other_sites_are_not_taken_for_json(shared: Plane, kind: str) -> None:
    body = b'{"name": "a", "inCluster": true}'
    status, _, problem = raw(shared, "POST", "/api/v1/clusters", body, Content_Type=kind)
    assert status == 415
    assert "application/json" in problem["detail"]


QUERIES = [
    ("/api/v1/credentials?usr=a", "unknown field `usr`"),
    ("/api/v1/credentials?limit=0", "at `$.limit`"),
    ("/api/v1/credentials?limit=x", "at `$.limit`"),
    ("/api/v1/credentials?user=a&user=b", "'user' is given 2 times"),
    ("/api/v1/version?x=1", "unknown field `x`"),
]


@pytest.mark.parametrize(("path", "said"), QUERIES)
def test_bad_queries_are_refused_with_the_place(shared: Plane, path: str, said: str) -> None:
    status, _, problem = raw(shared, "GET", path)
    assert status == 400
    assert said in problem["detail"]


def test_a_long_query_is_read_and_stands_in_the_record_whole(plane: Plane) -> None:
    text = "%F0%90%8D%88" * 1024
    status, _, _ = raw(plane, "GET", f"/api/v1/audit/calls?user={text}&text={text}")
    assert status == 200
    recorded = plane.events("audit.search")[-1]["detail"]["query"]
    assert recorded == f"user={text}&text={text}"

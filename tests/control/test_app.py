"""What is true of every answer, routed or not."""

import pytest

from tests.control.plane import Plane, raw


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/api/v1/nothing", 404), ("PUT", "/api/v1/clusters", 405)],
)
def test_unknown_routes_are_problems_too(
    shared: Plane, method: str, path: str, status: int
) -> None:
    seen, headers, problem = raw(shared, method, path)
    assert seen == status
    assert headers["Content-Type"] == "application/problem+json"
    assert problem["status"] == status
    assert ("Allow" in headers) == (status == 405)


def test_answers_are_not_cached_and_do_not_name_the_server(shared: Plane) -> None:
    _, headers, _ = raw(shared, "GET", "/api/v1/version")
    assert headers["Cache-Control"] == "no-store"
    assert "Server" not in headers

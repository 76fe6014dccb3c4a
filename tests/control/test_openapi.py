"""The route table, the permission table and the OpenAPI document say the same."""

from typing import Any

import pytest

from proxy.control import openapi, permissions
from proxy.control.app import build
from proxy.control.route import Route
from proxy.control.routes import ROUTES
from proxy.errors import DeniedError
from proxy.state.snapshot import Usage
from tests.control.plane import Plane

DOCUMENT = openapi.document(ROUTES)
KEYS = {(route.method, route.full_path) for route in ROUTES}
UNRECORDED = {
    "getVersion", "whoAmI", "getOpenAPI", "listClusters", "listCredentials",
}  # fmt: skip
"""They show neither records nor secrets, and change nothing."""


def test_each_route_has_a_permission_and_each_permission_a_route() -> None:
    assert set(permissions.REQUIRED) == KEYS


def test_a_route_without_an_entry_allows_nobody() -> None:
    for usage in Usage:
        with pytest.raises(DeniedError, match="allows nobody"):
            permissions.check("root", usage, "GET", "/api/v1/forgotten")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_each_route_is_documented(route: Route) -> None:
    operation = DOCUMENT["paths"][route.full_path][route.method.lower()]
    assert operation["operationId"] == route.operation
    assert operation["summary"].endswith(".")
    assert str(permissions.REQUIRED[route.method, route.full_path]) in operation["description"]
    assert {"401", "403", "503", str(route.status)} <= set(operation["responses"])


def test_operation_ids_are_unique() -> None:
    assert len({route.operation for route in ROUTES}) == len(ROUTES)


def test_no_route_can_change_or_delete_a_record() -> None:
    for path, operations in DOCUMENT["paths"].items():
        if "/audit" in path:
            assert set(operations) == {"get"}, path
        if "delete" in operations:
            assert path == "/api/v1/clusters/{name}"


def test_everything_else_is_recorded() -> None:
    assert {route.operation for route in ROUTES if not route.action} == UNRECORDED


def test_every_reference_resolves() -> None:
    schemas = DOCUMENT["components"]["schemas"]

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            reference = value.get("$ref")
            if reference is not None:
                assert reference.removeprefix("#/components/schemas/") in schemas
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(DOCUMENT)


def test_the_document_is_served_and_the_router_knows_nothing_more(plane: Plane) -> None:
    served = plane.client().get("/openapi.json")
    assert served["openapi"] == "3.1.0"
    assert set(served["paths"]) == {route.full_path for route in ROUTES}
    routed = {
        (route.method, route.resource.canonical)
        for route in build(plane.services).router.routes()
        if route.resource is not None
    }
    assert routed == KEYS

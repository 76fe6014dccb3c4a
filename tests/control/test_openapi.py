"""The route table, the permission table and the OpenAPI document say the same."""

from typing import Any

import pytest

from proxy.control import openapi
from proxy.control.entry import permissions
from proxy.control.entry.route import Route
from proxy.control.routes import ROUTES

DOCUMENT = openapi.document(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_each_route_is_documented(route: Route) -> None:
    operation = DOCUMENT["paths"][route.full_path][route.method.lower()]
    assert operation["operationId"] == route.operation
    assert operation["summary"].endswith(".")
    assert str(permissions.REQUIRED[route.method, route.full_path]) in operation["description"]
    assert {"401", "403", "503", str(route.status)} <= set(operation["responses"])


def test_no_route_can_change_or_delete_a_record() -> None:
    for path, operations in DOCUMENT["paths"].items():
        if "/audit" in path:
            assert set(operations) == {"get"}, path
        if "delete" in operations:
            noun = path.removeprefix("/api/v1/").removesuffix("/{name}")
            assert noun in {
                "clusters",
                "clusters/{name}/reconciler",
                "users",
                "groups",
                "projects",
                "roles",
            }


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

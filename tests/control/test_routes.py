"""The table of routes: complete, recorded, and all there is."""

from proxy.control.app import build
from proxy.control.routes import ROUTES
from tests.control.plane import Plane

KEYS = {(route.method, route.full_path) for route in ROUTES}


UNRECORDED = {
    "getVersion", "whoAmI", "getAuthority", "getOpenAPI", "listClusters", "listCredentials",
    "listRetentions", "listLegalHolds", "listUsers", "getUser", "listGroups", "getGroup",
    "getCluster", "listProjects", "getProject", "listRoles", "getRole", "listGrants", "getGrant", "listTokens",
    "listSettings",
}  # fmt: skip


def test_operation_ids_are_unique() -> None:
    assert len({route.operation for route in ROUTES}) == len(ROUTES)


def test_everything_else_is_recorded() -> None:
    assert {route.operation for route in ROUTES if not route.action} == UNRECORDED


def test_what_has_a_version_is_changed_with_it() -> None:
    shown = {route.full_path for route in ROUTES if route.method == "GET" and route.versioned}
    assert {path.split("/")[3] for path in shown} >= {
        "users",
        "groups",
        "projects",
        "roles",
        "grants",
    }
    blind = [
        route.operation
        for route in ROUTES
        if route.method != "GET" and not route.conditional
        if any(route.full_path == path or route.full_path.startswith(f"{path}/") for path in shown)
    ]
    assert blind == ["checkCluster"], "which changes nothing"


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

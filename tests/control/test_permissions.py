"""One table decides; what is not in it is denied."""

import pytest

from proxy.control import permissions
from proxy.control.permissions import HELD, REQUIRED
from proxy.control.routes import ROUTES
from proxy.errors import DeniedError
from proxy.state.permission import Permission
from proxy.state.snapshot import Usage

KEYS = {(route.method, route.full_path) for route in ROUTES}


def test_each_route_has_a_permission_and_each_permission_a_route() -> None:
    assert set(permissions.REQUIRED) == KEYS


def test_a_route_without_an_entry_allows_nobody() -> None:
    for usage in Usage:
        with pytest.raises(DeniedError, match="allows nobody"):
            permissions.check("root", usage, "GET", "/api/v1/forgotten")


@pytest.mark.parametrize(("method", "path"), sorted(REQUIRED))
def test_each_usage_reaches_what_it_holds_and_nothing_else(method: str, path: str) -> None:
    for usage in Usage:
        if REQUIRED[method, path] in HELD[usage]:
            permissions.check("alice", usage, method, path)
        else:
            with pytest.raises(DeniedError, match="'alice' may not"):
                permissions.check("alice", usage, method, path)


def test_kubectl_credentials_hold_nothing_and_renewing_ones_one_thing() -> None:
    assert HELD[Usage.KUBECTL] == frozenset()
    assert HELD[Usage.RENEW] == {Permission.RENEW}
    assert HELD[Usage.ADMIN] | HELD[Usage.RENEW] == set(Permission)

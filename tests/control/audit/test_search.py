"""What each parameter of a search finds, and what is not understood."""

from typing import Any

import pytest

from proxy.cli.client import Client
from proxy.errors import InvalidInputError
from tests.control.plane import Plane


def found(client: Client, **query: Any) -> list[str]:
    return [item["auditID"] for item in client.get("/audit/calls", query)["items"]]


FILTERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"user": "alice"}, {"user": "bob"}),
    ({"user": "al*"}, {"user": "al"}),
    ({"group": "dev"}, {"group": "de"}),
    ({"cluster": "prod"}, {"cluster": "test"}),
    ({"namespace": "shop"}, {"namespace": "sho"}),
    ({"resource": "po"}, {"resource": "deploy"}),
    ({"name": "web-*"}, {"name": "web"}),
    ({"verb": "get"}, {"verb": "list"}),
    ({"class": "read"}, {"class": "mutate"}),
    ({"status": "2xx"}, {"status": ">=400"}),
    ({"source": "10.0.0.0/8"}, {"source": "10.0.0.2"}),
    ({"tool": "kubectl"}, {"tool": "helm"}),
    ({"session": "5f0c"}, {"session": "5f"}),
    ({"command": "kubectl get"}, {"command": "kubectl delete"}),
    ({"text": "WEB-0"}, {"text": "nothing"}),
    ({"since": "1h"}, {"until": "1h"}),
    ({"user": ["bob", "alice"]}, {"user": ["bob", "carol"]}),
]


def test_filters(plane: Plane) -> None:
    client, audit_id = plane.client(), plane.call()
    for hit, miss in FILTERS:
        assert found(client, **hit) == [audit_id], hit
        assert found(client, **miss) == [], miss


@pytest.mark.parametrize(
    "query",
    [{"status": "many"}, {"source": "here"}, {"since": "soon"}, {"cursor": "x"}, {"kind": "all"}, {"limit": 0}],
    ids=str,
)  # fmt: skip
def test_filters_that_mean_nothing_are_refused(shared: Plane, query: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        shared.client().get("/audit/calls", query)


def test_noise_is_shown_when_asked_for(plane: Plane) -> None:
    plane.call(call_class="discovery", object_ref=None, request_uri="/apis")
    assert found(plane.client()) == []
    assert len(found(plane.client(), all=True)) == 1

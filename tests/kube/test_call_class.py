"""Classes of calls, by their attributes and not by one spelling."""

from __future__ import annotations

import pytest

from proxy.kube.request_info import (
    CallClass,
    InvalidRequest,
    classify,
    long_running,
    may_have_effect,
    request_info,
)

POD = "/api/v1/namespaces/shop/pods/web"


def class_of(method: str, target: str, *, upgrade: bool = False) -> CallClass:
    return classify(method, request_info(method, target), upgrade)


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", POD, "read"),
        ("HEAD", POD, "read"),
        ("GET", "/api/v1/namespaces/shop/secrets/s", "read"),
        ("GET", "/apis/apps/v1/deployments?limit=500", "read"),
        ("GET", "/metrics", "read"),
        ("GET", "/", "read"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "read"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "read"),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "read"),
        ("PUT", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "mutate"),
        ("POST", "/apis/example.com/v1/selfsubjectreviews", "mutate"),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "mutate"),
        ("POST", "/api/v1/namespaces/shop/pods", "mutate"),
        ("POST", "/api/v1/namespaces/shop/pods?dryRun=All", "mutate"),
        ("PATCH", f"{POD}/ephemeralcontainers", "mutate"),
        ("POST", f"{POD}/eviction", "mutate"),
        ("DELETE", "/api/v1/namespaces/shop/pods", "mutate"),
        ("DELETE", "/api/v1/watch/pods", "mutate"),
        ("OPTIONS", POD, "mutate"),
        ("get", POD, "mutate"),
        ("BREW", "/version", "mutate"),
        ("POST", "/version", "mutate"),
        ("GET", "/api/v1/pods?watch", "stream"),
        ("GET", "/api/v1/watch/pods", "stream"),
        ("GET", f"{POD}/log?follow=true", "stream"),
        ("GET", f"{POD}/log", "stream"),
        ("GET", "/debug/pprof/profile", "stream"),
        ("GET", "/api", "discovery"),
        ("GET", "/api/v1", "discovery"),
        ("GET", "/apis/apps/v1/", "discovery"),
        ("GET", "/openapi/v3/apis/apps/v1", "discovery"),
        ("GET", "/version?timeout=5s", "discovery"),
        ("GET", "/healthz", "health"),
        ("HEAD", "/livez/ping", "health"),
        ("GET", "/readyz?verbose", "health"),
        ("GET", "/healthz2", "read"),
    ],
)
def test_class(method: str, target: str, expected: str) -> None:
    assert class_of(method, target) == expected


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "post", "BREW"])
@pytest.mark.parametrize(
    "target",
    [
        f"{POD}/exec",
        f"{POD}/exec/",
        f"{POD}/exec?command=a&command=b",
        f"{POD}/%65xec",
        f"{POD}/attach",
        f"{POD}/portforward",
        f"{POD}/proxy",
        f"{POD}/proxy/a//b",
        "/api/v1/namespaces/shop/services/https:web:443/proxy/items/3",
        "/api/v1/nodes/n1/proxy",
        "/api/v1/nodes/n1/proxy/exec/shop/web/c?command=id",
        "/api/v1/nodes/n1:10250/proxy/run/shop/web/c",
        "/api/v1/proxy/nodes/n1/exec/shop/web/c",
        "/api/v1/proxy/nodes/n1",
        "/api/v1/watch/nodes/n1/proxy",
        "/apis/subresources.kubevirt.io/v1/namespaces/shop/virtualmachineinstances/v/portforward",
        "/api/v1/namespaces/shop/serviceaccounts/sa/token",
    ],
)
def test_lesson_17_and_18_what_reaches_into_a_pod_or_node_is_privileged(
    method: str, target: str
) -> None:
    assert class_of(method, target) is CallClass.PRIVILEGED


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/version",
        "/api/v1/pods?watch=1",
        f"{POD}/log",
        "/apis/subresources.kubevirt.io/v1/namespaces/shop/virtualmachineinstances/v/vnc",
    ],
)
def test_lesson_18_any_upgrade_is_privileged(target: str) -> None:
    assert class_of("GET", target, upgrade=True) is CallClass.PRIVILEGED


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (POD, False),
        ("/api/v1/pods?watch=1", True),
        ("/api/v1/proxy/nodes/n1", True),
        (f"{POD}/log", True),
        (f"{POD}/exec", True),
        (f"{POD}/status", False),
        ("/debug/pprof/heap", True),
        ("/version", False),
    ],
)
def test_long_running(target: str, expected: bool) -> None:
    assert long_running(request_info("GET", target)) is expected
    assert long_running(request_info("GET", target), upgrade=True)


def test_only_mutations_and_privileged_calls_may_have_an_effect() -> None:
    assert {c for c in CallClass if may_have_effect(c)} == {CallClass.MUTATE, CallClass.PRIVILEGED}


def test_a_path_without_a_resource_is_no_call_at_all() -> None:
    with pytest.raises(InvalidRequest, match="watch"):
        request_info("GET", "/api/v1/watch")

"""Targets that parsers disagree about are refused; everything clients really send passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.kube.targets import check_target

PODS = "/api/v1/namespaces/shop/pods"
BACKEND = "/api/v1/namespaces/shop/services/https:web:443/proxy"


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/api",
        "/apis/apps/v1/",
        f"{PODS}/",
        f"{PODS}?limit=500&labelSelector=app%2Fname%3Dweb",
        f"{PODS}/web/exec?command=sh&command=-c&command=%00%2F..%2F%23%ff%zz",
        f"{PODS}?a=b;c=d&fieldSelector=metadata.name=é",
        f"{PODS}/..data",
        f"{PODS}/...",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
        "/api/v1/namespaces/shop/services/https%3Aweb%3A443/proxy/x",
        "/api/v1/namespaces/shop/%70ods",
        "/openapi/v3/apis/apps/v1?hash=AB%2FCD",
        BACKEND,
        f"{BACKEND}/",
        f"{BACKEND}//a//b//",
        f"{BACKEND}/vhosts/%2F/queues%5Cx",
        f"{BACKEND}/a%252e%252e?access_token=x",
        "/api/v1/nodes/n1/proxy/logs//",
        "/api/v1/proxy/namespaces/shop/pods/web//a",
        "/api/v1/watch/namespaces/shop/pods/web",
        "/apis/cluster.example.io/v1/clusters/c1/proxy/api//v1",
        "/api/v1/pods?not_access_token=1",
    ],
)
def test_accepted(target: str) -> None:
    assert check_target(target.encode()) is None


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (b"", "start"),
        (b"*", "start"),
        (b"api/v1/pods", "start"),
        (b"https://other/api/v1/pods", "start"),
        (b"other:443", "start"),
        (b"/api/v1/pods#x", "#"),
        (b"/api/v1/pods?a=#x", "#"),
        (b"/api/v1/pods?a=\x00", "control"),
        (b"/api/v1/po ds", "blank"),
        (b"/api/v1/pods\r\nX: y", "control"),
        (b"/api/v1/p\xc3\xa9", "percent-encoded"),
        (b"/api/v1\\pods", "percent-encoded"),
        (b"/api/v1/%", "broken"),
        (b"/api/v1/%zz/pods", "broken"),
        (b"/api/v1/%00/pods", "control"),
        (b"/api/v1/%0d%0a/pods", "control"),
        (b"/api/v1/%ff/pods", "UTF-8"),
        (b"//api/v1/pods", "empty"),
        (b"/api/v1//pods", "empty"),
        (b"/api/v1/pods//", "empty"),
        (b"/api/v1/namespaces//pods", "empty"),
        (b"/api/v1/namespaces//pods/web/proxy/x", "empty"),
        (b"/healthz//", "empty"),
        (b"/api/v1/namespaces/a/../b/pods", "dot"),
        (b"/api/v1/namespaces/./pods", "dot"),
        (b"/api/v1/namespaces/..", "dot"),
        (b"/api/v1/namespaces/..;x/pods", "dot"),
        (b"/api/v1/namespaces/%2e%2E/pods", "dot"),
        (b"/api/v1/namespaces/.%2e/pods", "dot"),
        (b"/api/v1/namespaces/%2E/pods", "dot"),
        (b"/api/v1/namespaces/%252e%252e/pods", "twice"),
        (b"/api/v1/namespaces/default%2Fpods", "slash"),
        (b"/api/v1/namespaces/default%2fpods", "slash"),
        (b"/api/v1/namespaces/default%5Cpods", "slash"),
        (b"/api/v1/namespaces/default%5cpods", "slash"),
        (b"/api/v1/nodes/n1/proxy/../../secrets", "dot"),
        (b"/api/v1/nodes/n1/proxy/a%2f..%2fb", "dot"),
        (b"/api/v1/nodes/n1/proxy/a%5C..%5cb", "dot"),
        (b"/api/v1/nodes/n1/proxy/%2e%2e/b", "dot"),
        (b"/api/v1/nodes/n1/proxy/%00", "control"),
        (b"/api/v1/nodes/n1%2Fproxy/a", "slash"),
        (b"/api/v1/proxy/nodes/n1/..", "dot"),
        (b"/api/v1/pods?access_token=abc", "credential"),
        (b"/api/v1/pods?a=b&%61ccess_token=abc", "credential"),
        (b"/api/v1/pods?access_token", "credential"),
        (b"/api/v1/nodes/n1/proxy/" + b"x" * 8192, "longer"),
        (b"/api/v1/pods?fieldSelector=metadata.name=n&labelSelector=%00", "NUL"),
        (b"/api/v1/pods?f%69eldSelector=a%00", "NUL"),
        (b"/api/v1/pods?" + b"&%61=1" * 1001, "percent-encoded parameter"),
        (b"/api/v1/pods?" + b"a&" * 10_001, "parameters"),
    ],
)
def test_lesson_16_refused(target: bytes, reason: str) -> None:
    assert reason in (check_target(target) or "accepted")


@given(st.binary(max_size=60))
def test_any_bytes_get_an_answer(target: bytes) -> None:
    check_target(target)
    check_target(b"/api/v1/namespaces/" + target)


def test_a_hostile_target_costs_linear_time() -> None:
    for piece in (b"/a", b"%41", b"/.", b"&%41", b"a;", b"=%"):
        check_target(b"/" + piece * 100_000)
        check_target(b"/x?" + piece * 100_000)

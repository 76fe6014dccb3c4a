"""The description of requests: what we classify is what kube-apiserver sees and what we forward."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import astuple

from proxy.kube.request_info import (
    CallClass,
    InvalidRequest,
    RefusedTarget,
    RequestInfo,
    check_target,
    classify,
    describe,
    request_info,
)
from tests.kube.vectors import ERRORS, VECTORS, Vector

POD = "/api/v1/namespaces/shop/pods/web"

segments = st.sampled_from(
    [
        "api",
        "apis",
        "v1",
        "apps",
        "namespaces",
        "pods",
        "nodes",
        "services",
        "web",
        "watch",
        "proxy",
        "exec",
        "log",
        "status",
        "token",
        "serviceaccounts",
        "https:web:443",
        "a+b",
        "API",
    ]
) | st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
paths = st.builds(
    lambda prefix, rest, end: prefix + "".join(f"/{segment}" for segment in rest) + end,
    st.sampled_from(["/api/v1", "/apis/apps/v1", "/api/v1/namespaces/shop", ""]),
    st.lists(segments, min_size=1, max_size=6),
    st.sampled_from(["", "/"]),
)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get"])
rough_ends = st.lists(
    st.sampled_from(["/", "..", ".", "%2e", "%2E", "%2f", "%2F", "%5c", "%", "%00", "\\", ";", "a"])
    | segments,
    max_size=12,
).map("".join)
rough_paths = st.builds(
    str.__add__,
    st.sampled_from(
        [
            "/",
            "/api/v1/",
            "/apis/g/v1/",
            "/api/v1/namespaces/shop/services/web/proxy/",
            "/api/v1/proxy/nodes/n1/",
            "/api/v1/watch/namespaces/shop/",
            "/api/v1/namespaces/",
        ]
    ),
    rough_ends,
)


def understood(method: str, target: str) -> tuple[RequestInfo | None, bool]:
    try:
        return request_info(method, target), False
    except InvalidRequest as error:
        return error.info, True


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector[0]:02}")
def test_vector(vector: Vector) -> None:
    number, method, target, *expected = vector
    info, failed = understood(method, target)
    assert info is not None
    path = unquote(target.partition("?")[0])
    assert failed == (number in ERRORS)
    assert astuple(info) == (*expected, path)


@pytest.mark.parametrize(
    ("target", "verb", "name"),
    [
        ("?fieldSelector=metadata.name=n&labelSelector=app+in+(a,b),!c,x.y/z=1", "list", "n"),
        ("?fieldSelector=metadata.name=n&labelSelector=app+in+(a", "list", ""),
        ("?fieldSelector=metadata.name=n&labelSelector=-a", "list", ""),
        ("?fieldSelector=metadata.name=n&labelSelector=a>5", "list", "n"),
        ("?fieldSelector=metadata.name=n&labelSelector=a>b", "list", ""),
        ("?fieldSelector=metadata.name=n&labelSelector=a,", "list", ""),
        ("?fieldSelector=metadata.name=n&timeoutSeconds=", "list", ""),
        ("?fieldSelector=metadata.name=n&limit=%2B5", "list", "n"),
        ("?fieldSelector=metadata.name=n&limit=9223372036854775808&watch=1", "watch", ""),
        ("?fieldSelector=metadata.name=a%5C,b", "list", "a,b"),
        ("?fieldSelector=metadata.name=a%5Cb", "list", ""),
        ("?fieldSelector=metadata.name=b,metadata.name=a", "list", "a"),
        ("?fieldSelector=metadata.name=%2e%2e", "list", ""),
        ("?w%61tch=1", "watch", ""),
        ("?watch=%zz&watch=0", "list", ""),
        ("?watch=fal%C5%BFe", "list", ""),
        ("?watch=fal%C5%BFe&limit=x", "watch", ""),
        ("?fieldSelector=metadata.name", "list", ""),
        ("?watch=1" + "&a" * 10_000, "list", ""),
    ],
)
def test_list_options_as_go_decodes_them(target: str, verb: str, name: str) -> None:
    info = request_info("GET", "/api/v1/pods" + target)
    assert (info.verb, info.name) == (verb, name)


@pytest.mark.parametrize("target", ["", "api/v1", "*", "http://h/api/v1/pods", "/a%zz", "/a\x00b"])
def test_what_is_no_target_has_no_attributes(target: str) -> None:
    assert understood("GET", target) == (None, True)


def test_bytes_that_are_not_utf8_become_printable() -> None:
    info = request_info("GET", "/api/v1/namespaces/%ff/pods?fieldSelector=metadata.name=%fe")
    assert (info.namespace, info.name, info.field_selector) == (
        r"\xff",
        r"\xfe",
        r"metadata.name=\xfe",
    )
    assert request_info("GET", "/%C3%A9").path == "/é"


@given(methods, paths)
def test_lesson_16_accepted_targets_mean_the_same_in_every_spelling(method: str, path: str) -> None:
    """Decoded, re-encoded and fully escaped, an accepted target keeps attributes and class."""
    assume(check_target(path.encode()) is None)
    everything = "/".join("".join(f"%{b:02x}" for b in part.encode()) for part in path.split("/"))
    known = understood(method, path)
    for spelling in (quote(unquote(path)), everything):
        assert check_target(spelling.encode()) is None
        assert understood(method, spelling) == known


@given(rough_paths)
def test_lesson_16_accepted_paths_hold_no_dot_or_empty_segment(path: str) -> None:
    """As Go sees them: decoded once, then split."""
    assume(check_target(path.encode()) is None)
    info, _ = understood("GET", path)
    assert info is not None
    seen = info.path.replace("\\", "/").strip("/").split("/")
    assert not {".", ".."} & set(seen)
    is_backend = "proxy" in (info.subresource, info.verb)
    assert "" not in seen or seen == [""] or is_backend
    assert "//" not in info.path or is_backend
    if path.count("/") != info.path.count("/"):
        assert is_backend


@given(methods, rough_paths, st.booleans())
def test_lesson_17_no_spelling_gets_a_weaker_class_than_its_attributes(
    method: str, path: str, upgrade: bool
) -> None:
    info, failed = understood(method, path)
    assume(info is not None and not failed)
    assert info is not None
    call_class = classify(method, info, upgrade)
    reaching = info.subresource in {"exec", "attach", "portforward", "proxy"}
    if upgrade or (info.is_resource and (reaching or info.verb == "proxy")):
        assert call_class is CallClass.PRIVILEGED
    elif info.verb in {"create", "update", "patch", "delete", "deletecollection", "", "post"}:
        assert call_class in {CallClass.MUTATE, CallClass.PRIVILEGED}
    if call_class is CallClass.READ:
        assert method in {"GET", "HEAD"}


@given(methods, paths, st.booleans())
def test_describe_is_check_understand_classify(method: str, path: str, upgrade: bool) -> None:
    info, failed = understood(method, path)
    if check_target(path.encode()) is not None:
        with pytest.raises(RefusedTarget):
            describe(method, path.encode(), upgrade=upgrade)
    elif failed or info is None:
        with pytest.raises(InvalidRequest):
            describe(method, path.encode(), upgrade=upgrade)
    else:
        for _ in range(2):
            described = describe(method, path.encode(), upgrade=upgrade)
            assert described.info == info
            assert described.call_class is classify(method, info, upgrade)


def test_long_targets_are_described_without_being_kept() -> None:
    target = (POD + "/exec?command=" + "x" * 100_000).encode()
    assert describe("GET", target).call_class is CallClass.PRIVILEGED


def test_what_kube_apiserver_cannot_understand_is_not_described() -> None:
    with pytest.raises(InvalidRequest) as refused:
        describe("GET", b"/api/v1/proxy")
    assert refused.value.info is not None
    assert describe("GET", b"/api/v1/pods?watch=0").info.verb == "list"


def test_selectors_are_parsed_for_one_name_only_while_they_are_short() -> None:
    many = "&labelSelector=app+in+(" + "a," * 50_000 + "b)"
    assert request_info("GET", "/api/v1/pods?watch=1" + many).verb == "watch"
    with pytest.raises(InvalidRequest, match="too long"):
        request_info("GET", "/api/v1/pods?fieldSelector=metadata.name=n" + many)

"""Questions about one's own access: read in both forms, and turned into requests."""

import json

import pytest

from proxy.kube.call_class import CallClass
from proxy.kube.request_info import request_info
from proxy.kube.self_review import (
    PathAttributes,
    Question,
    ResourceAttributes,
    asked_about,
    denial,
    is_self_access_review,
    is_self_rules_review,
    read_namespace,
    read_question,
)

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


def test_only_the_review_about_oneself_is_one() -> None:
    assert is_self_access_review(request_info("POST", REVIEWS))
    assert is_self_access_review(request_info("POST", REVIEWS.replace("v1", "v1beta1")))
    for method, path in (
        ("GET", REVIEWS),
        ("POST", REVIEWS.replace("self", "")),
        ("POST", "/apis/example.com/v1/selfsubjectaccessreviews"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"),
        ("POST", "/version"),
    ):
        assert not is_self_access_review(request_info(method, path)), path


def test_a_question_is_read() -> None:
    body = b'{"spec":{"resourceAttributes":{"verb":"get","resource":"pods","fieldSelector":{}}}}'
    assert read_question(body) == Question(ResourceAttributes(verb="get", resource="pods"))
    body = b'{"spec":{"nonResourceAttributes":{"path":"/metrics","verb":"get"}}}'
    assert read_question(body) == Question(None, PathAttributes("/metrics", "get"))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"spec":{}}', b'{"spec":{"resourceAttributes":{"verb":1}}}', b"\xff", b"k8s\x00\x0a"])  # fmt: skip
def test_what_is_no_question_is_not_read(body: bytes) -> None:
    assert read_question(body) is None


def test_a_question_becomes_the_request_it_is_about() -> None:
    question = Question(ResourceAttributes("web", "create", "", "v1", "pods", "exec", "a"))
    info, call_class = asked_about(question)
    real = request_info("POST", "/api/v1/namespaces/web/pods/a/exec")
    for name in ("is_resource", "verb", "group", "namespace", "resource", "subresource", "name", "parts"):  # fmt: skip
        assert getattr(info, name) == getattr(real, name)
    assert call_class is CallClass.PRIVILEGED
    assert asked_about(Question(ResourceAttributes(verb="list", resource="x")))[1] is CallClass.READ
    assert asked_about(Question(ResourceAttributes(verb="*", resource="x")))[1] is CallClass.MUTATE
    info, call_class = asked_about(Question(None, PathAttributes("/healthz", "GET")))
    assert (info.verb, info.path, call_class) == ("get", "/healthz", CallClass.HEALTH)


def test_no_is_said_in_kubernetes_words() -> None:
    question = Question(ResourceAttributes("web", "get", resource="pods"))
    assert json.loads(denial("v1", question, "because")) == {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {"creationTimestamp": None},
        "spec": {"resourceAttributes": {"namespace": "web", "verb": "get", "resource": "pods"}},
        "status": {"allowed": False, "denied": True, "reason": "because"},
    }


def test_a_question_for_all_rules_is_another_one() -> None:
    asked = request_info("POST", RULES)
    assert is_self_rules_review(asked)
    assert not is_self_access_review(asked)
    for method, path in (("GET", RULES), ("POST", REVIEWS), ("POST", "/version")):
        assert not is_self_rules_review(request_info(method, path)), path


@pytest.mark.parametrize(
    ("body", "namespace"),
    [
        (b'{"spec":{"namespace":"web"}}', "web"),
        (b'{"spec":{}}', ""),
        (b"{}", None),
        (b'{"spec":{"namespace":1}}', None),
        (b"k8s\x00\x0a\x02", None),
        (b"\xff", None),
    ],
)
def test_its_namespace_is_read(body: bytes, namespace: str | None) -> None:
    assert read_namespace(body) == namespace

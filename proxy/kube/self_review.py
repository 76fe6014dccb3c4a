"""What `kubectl auth can-i` asks, and how to answer it ourselves (authorization.k8s.io/v1).

SelfSubjectAccessReview asks about one request, SelfSubjectRulesReview (`--list`) for all rules.

Field numbers: k8s.io/api `authorization/v1/generated.proto`.
"""

from typing import Any, Final

import msgspec

from proxy.kube.attributes import RequestInfo
from proxy.kube.call_class import CallClass, classify
from proxy.kube.protobuf import MAGIC, Malformed, envelope, fields, raw, text

GROUP: Final = "authorization.k8s.io"
RESOURCE: Final = "selfsubjectaccessreviews"
KIND: Final = "SelfSubjectAccessReview"
RULES_RESOURCE: Final = "selfsubjectrulesreviews"
RULES_KIND: Final = "SelfSubjectRulesReview"
FORMS: Final = frozenset({b"", b"application/json", b"application/vnd.kubernetes.protobuf"})
"""Media types of a review that can be read here. Clusters know others, YAML and CBOR."""
_READS: Final = frozenset({"get", "list", "watch"})


class ResourceAttributes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked about a resource."""

    namespace: str = ""
    verb: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""


class PathAttributes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked about a path that is no resource."""

    path: str = ""
    verb: str = ""


class Question(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The spec of a review; one of the two is there."""

    resource_attributes: ResourceAttributes | None = None
    non_resource_attributes: PathAttributes | None = None


class _Review(msgspec.Struct):
    spec: Question


class _Place(msgspec.Struct, omit_defaults=True):
    namespace: str = ""


class _RulesReview(msgspec.Struct):
    spec: _Place


class ResourceRule(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What may be done with resources."""

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...]
    resources: tuple[str, ...]
    resource_names: tuple[str, ...] = ()


class PathRule(msgspec.Struct, frozen=True, rename={"paths": "nonResourceURLs"}):
    """What may be done with paths that are no resource."""

    verbs: tuple[str, ...]
    paths: tuple[str, ...]


class RulesStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to a SelfSubjectRulesReview."""

    resource_rules: tuple[ResourceRule, ...]
    non_resource_rules: tuple[PathRule, ...]
    incomplete: bool
    evaluation_error: str
    """What the rules do not say; kubectl prints it as a warning."""


def is_self_access_review(info: RequestInfo) -> bool:
    """Whether a request asks whether its caller may do something."""
    return _is_question(info, RESOURCE)


def is_self_rules_review(info: RequestInfo) -> bool:
    """Whether a request asks for all that its caller may do."""
    return _is_question(info, RULES_RESOURCE)


def _is_question(info: RequestInfo, resource: str) -> bool:
    return (
        info.is_resource
        and info.resource == resource
        and info.group == GROUP
        and info.verb == "create"
    )


def read_question(body: bytes) -> Question | None:
    """What a review asks, in JSON or protobuf; None when it cannot be read, or asks nothing."""
    try:
        if body.startswith(MAGIC):
            question = _of_protobuf(body)
        else:
            question = msgspec.json.decode(body, type=_Review).spec
    except (Malformed, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    both = (question.resource_attributes, question.non_resource_attributes)
    return question if both.count(None) == 1 else None


def read_namespace(body: bytes) -> str | None:
    """The namespace that a SelfSubjectRulesReview asks about, in JSON or protobuf; None when it
    cannot be read."""
    try:
        if body.startswith(MAGIC):
            return text(_spec(body, RULES_KIND).get(1, b""))
        return msgspec.json.decode(body, type=_RulesReview).spec.namespace
    except (Malformed, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _spec(body: bytes, kind: str) -> dict[int, int | bytes]:
    found = envelope(body)
    if found.kind != kind:
        raise Malformed(f"a {found.kind} where a {kind} belongs")
    review = dict(fields(found.raw))
    return dict(fields(raw(review.get(2, b""))))


def _of_protobuf(body: bytes) -> Question:
    spec = _spec(body, KIND)
    resource = path = None
    if 1 in spec:
        values = {number: value for number, value in fields(raw(spec[1])) if number <= 7}
        resource = ResourceAttributes(*(text(values.get(number, b"")) for number in range(1, 8)))
    if 2 in spec:
        values = dict(fields(raw(spec[2])))
        path = PathAttributes(text(values.get(1, b"")), text(values.get(2, b"")))
    return Question(resource, path)


def asked_about(question: Question) -> tuple[RequestInfo, CallClass]:
    """The request that a question is about, as kube-apiserver would see it."""
    asked = question.resource_attributes
    if asked is None:
        other = question.non_resource_attributes or PathAttributes()
        verb = other.verb.lower()
        info = RequestInfo(False, verb, "", "", "", "", "", "", (), "", "", other.path)
        return info, classify(verb.upper(), info, False)
    parts = tuple(part for part in (asked.resource, asked.name, asked.subresource) if part)
    info = RequestInfo(
        is_resource=True,
        verb=asked.verb,
        group=asked.group,
        version=asked.version,
        namespace=asked.namespace,
        resource=asked.resource,
        subresource=asked.subresource,
        name=asked.name,
        parts=parts,
        field_selector="",
        label_selector="",
        path="",
    )
    return info, classify("GET" if asked.verb in _READS else "POST", info, False)


def denial(version: str, question: Question, reason: str) -> bytes:
    """The answer no, as JSON, which clients of any form accept; `version` as in the request."""
    review: dict[str, Any] = {
        "kind": KIND,
        "apiVersion": f"{GROUP}/{version}",
        "metadata": {"creationTimestamp": None},
        "spec": question,
        "status": {"allowed": False, "denied": True, "reason": reason},
    }
    return msgspec.json.encode(review)


def listed(version: str, namespace: str, status: RulesStatus) -> bytes:
    """The answer to a SelfSubjectRulesReview, as JSON; `version` as in the request."""
    review: dict[str, Any] = {
        "kind": RULES_KIND,
        "apiVersion": f"{GROUP}/{version}",
        "metadata": {"creationTimestamp": None},
        "spec": {"namespace": namespace},
        "status": status,
    }
    return msgspec.json.encode(review)

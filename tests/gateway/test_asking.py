"""`kubectl auth can-i`: what the grants deny is answered here, all else by the cluster."""

import json
import struct
from collections.abc import Callable

import pytest

from proxy.gateway.asking import LARGEST
from proxy.state.access import Grant
from tests.authz import people
from tests.authz.people import cluster, grant, namespace, user
from tests.gateway.world import World

PATH = "/clusters/prod/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
RULES = PATH.replace("access", "rules")
MINE = grant("alice", "namespace-read-only", namespace("prod", "web"))


def govern(world: World, *grants: Grant) -> None:
    world.access = people.access(*grants, users=(user("alice"),))


def question(**attributes: str) -> bytes:
    """As kubectl asks, in JSON."""
    return json.dumps(
        {
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {},
            "spec": {"resourceAttributes": attributes},
        }
    ).encode()


def in_protobuf(**attributes: str) -> bytes:
    """The same in protobuf, as typed clients ask."""
    numbers = ["namespace", "verb", "group", "version", "resource", "subresource", "name"]
    values = b"".join(
        _field(numbers.index(name) + 1, value.encode()) for name, value in attributes.items()
    )
    kind = _field(1, b"authorization.k8s.io/v1") + _field(2, b"SelfSubjectAccessReview")
    review = _field(1, b"") + _field(2, _field(1, values)) + _field(3, b"\x08\x00")
    return b"k8s\x00" + _field(1, kind) + _field(2, review) + _field(3, b"") + _field(4, b"")


def _field(number: int, value: bytes) -> bytes:
    assert len(value) < 16384
    length = len(value)
    size = struct.pack("B", length) if length < 128 else bytes([length & 127 | 128, length >> 7])
    return bytes([number << 3 | 2]) + size + value


@pytest.mark.parametrize("form", [question, in_protobuf], ids=["json", "protobuf"])
async def test_what_grants_deny_is_answered_no_and_never_asked(
    world: World, form: Callable[..., bytes]
) -> None:
    govern(world, MINE)
    body = form(namespace="web", verb="create", resource="pods", subresource="exec")
    status, headers, answer = await world.get(PATH, method="POST", body=body)
    assert (status, headers["content-type"]) == (201, "application/json")
    review = json.loads(answer)
    assert review["kind"] == "SelfSubjectAccessReview"
    assert review["apiVersion"] == "authorization.k8s.io/v1"
    assert review["spec"]["resourceAttributes"]["subresource"] == "exec"
    assert review["status"] == {
        "allowed": False,
        "denied": True,
        "reason": "kubewitness: it needs kubernetes.exec, which namespace-read-only does not give",
    }
    assert world.requests == []
    assert world.journal.stages() == ["RequestReceived", "ResponseComplete"]
    (outcome,) = world.terminals()
    assert outcome["responseStatus"]["code"] == 201
    assert outcome["bytesIn"] == len(body)
    assert outcome["annotations"]["kubewitness.io/access-review"].startswith("no: it needs")


ASKED = {
    "a read there": ({"verb": "get", "resource": "pods", "namespace": "web"}, True),
    "a write there": ({"verb": "delete", "resource": "pods", "namespace": "web"}, False),
    "a secret": ({"verb": "get", "resource": "secrets", "namespace": "web"}, False),
    "all of it": ({"verb": "get", "resource": "*", "namespace": "web"}, False),
    "anything": ({"verb": "*", "resource": "pods", "namespace": "web"}, False),
    "elsewhere": ({"verb": "get", "resource": "pods", "namespace": "db"}, False),
    "everywhere": ({"verb": "get", "resource": "pods"}, False),
    "nodes": ({"verb": "list", "resource": "nodes"}, False),
    "asking": (
        {
            "verb": "create",
            "group": "authorization.k8s.io",
            "resource": "selfsubjectaccessreviews",
        },
        True,
    ),
}


@pytest.mark.parametrize("case", ASKED)
async def test_the_cluster_answers_what_grants_allow(world: World, case: str) -> None:
    govern(world, MINE)
    attributes, forwarded = ASKED[case]
    status, _, _ = await world.get(PATH, method="POST", body=question(**attributes))
    assert status == (200 if forwarded else 201)
    assert len(world.requests) == forwarded
    if forwarded:
        assert world.requests[0].body == question(**attributes)
        assert world.requests[0].headers("impersonate-group") == [
            "kubewitness:namespace-read-only:web"
        ]


@pytest.mark.parametrize(
    ("path", "verb", "forwarded"),
    [("/version", "get", True), ("/metrics", "get", False), ("/version", "post", False)],
)
async def test_paths_are_asked_about_too(
    world: World, path: str, verb: str, forwarded: bool
) -> None:
    govern(world, MINE)
    body = json.dumps({"spec": {"nonResourceAttributes": {"path": path, "verb": verb}}})
    await world.get(PATH, method="POST", body=body.encode())
    assert len(world.requests) == forwarded


UNREADABLE = {
    "no json": (b"can I?", 400),
    "nothing": (b"", 400),
    "no question": (b'{"spec":{}}', 400),
    "two questions": (b'{"spec":{"resourceAttributes":{},"nonResourceAttributes":{}}}', 400),
    "cut short": (in_protobuf(verb="delete", resource="pods")[:-20], 400),
    "another kind": (in_protobuf(verb="get").replace(b"SelfSubjectA", b"SelfSubjectB"), 400),
    "too much": (question(verb="delete", name="x" * LARGEST), 413),
}


@pytest.mark.parametrize("case", UNREADABLE)
@pytest.mark.parametrize("path", [PATH, RULES])
async def test_what_cannot_be_read_is_refused_and_never_asked(
    world: World, case: str, path: str
) -> None:
    govern(world, MINE)
    body, code = UNREADABLE[case]
    if path == RULES and "question" in case:
        body = b'{"kind":"SelfSubjectRulesReview"}'
    status, _, answer = await world.get(path, method="POST", body=body)
    assert (status, json.loads(answer)["kind"]) == (code, "Status")
    assert world.requests == []


FORMS = {
    "application/yaml": b"spec: {resourceAttributes: {verb: create, resource: pods}}",
    "application/cbor": b"\xd9\xd9\xf7\xa0",
    "Application/Yaml; charset=utf-8": b"{}",
    "text/plain": b"{}",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", [PATH, RULES])
async def test_other_forms_are_refused_with_the_forms_that_are_read(
    world: World, form: str, path: str
) -> None:
    govern(world, MINE)
    asked = (path, f"Content-Type: {form}")
    status, _, answer = await world.get(*asked, method="POST", body=FORMS[form])
    assert status == 415
    assert "must be JSON or the protobuf form" in json.loads(answer)["message"]
    assert world.requests == []
    world.access = people.access()
    status, _, _ = await world.get(*asked, method="POST", body=FORMS[form])
    assert status == 200, "whom no grants govern the cluster answers, in any form"


@pytest.mark.parametrize(
    "form", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"]
)
async def test_json_is_read_however_it_is_declared(world: World, form: str) -> None:
    govern(world, MINE)
    body = question(verb="delete", resource="pods", namespace="web")
    status, _, answer = await world.get(PATH, f"Content-Type: {form}", method="POST", body=body)
    assert (status, json.loads(answer)["status"]["allowed"]) == (201, False)


def rules_question() -> bytes:
    """As `kubectl auth can-i --list` asks, in JSON."""
    return b'{"kind":"SelfSubjectRulesReview","spec":{"namespace":"web"}}'


def rules_in_protobuf() -> bytes:
    kind = _field(1, b"authorization.k8s.io/v1") + _field(2, b"SelfSubjectRulesReview")
    review = _field(1, b"") + _field(2, _field(1, b"web"))
    return b"k8s\x00" + _field(1, kind) + _field(2, review)


@pytest.mark.parametrize("form", [rules_question, rules_in_protobuf], ids=["json", "protobuf"])
async def test_all_that_one_may_do_is_what_the_grants_allow(
    world: World, form: Callable[[], bytes]
) -> None:
    govern(world, MINE)
    status, headers, answer = await world.get(RULES, method="POST", body=form())
    review = json.loads(answer)
    assert (status, headers["content-type"]) == (201, "application/json")
    assert (review["kind"], review["apiVersion"]) == (
        "SelfSubjectRulesReview",
        "authorization.k8s.io/v1",
    )
    assert review["spec"] == {"namespace": "web"}
    first = review["status"]["resourceRules"][0]
    assert first == {"verbs": ["get", "list", "watch"], "apiGroups": ["*"], "resources": ["*"]}
    assert review["status"]["nonResourceRules"][0]["nonResourceURLs"]
    assert review["status"]["incomplete"]
    assert "the cluster's own rules apply besides" in review["status"]["evaluationError"]
    assert world.requests == []
    (outcome,) = world.terminals()
    assert outcome["annotations"]["kubewitness.io/access-review"] == (
        "the rules of the grants in 'web'"
    )


async def test_a_body_that_waits_to_be_asked_for_is_asked_for(world: World) -> None:
    govern(world, MINE)
    reader, writer = await world.connect()
    body = question(verb="delete", resource="pods", namespace="web")
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(body)}"
    writer.write(head.encode() + b"\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")
    writer.close()


async def test_chunks_are_read_together_and_the_connection_goes_on(world: World) -> None:
    govern(world, MINE)
    reader, writer = await world.connect()
    body = question(verb="delete", resource="pods", namespace="web")
    for _ in range(2):
        writer.write(
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        for part in (body[:20], body[20:]):
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201 ")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        assert b'"denied":true' in await reader.readexactly(length)
    writer.close()
    assert world.requests == []


async def test_no_answer_is_given_that_is_not_on_record(world: World) -> None:
    govern(world, MINE)
    world.journal.refuse_from = 1
    body = question(verb="delete", resource="pods", namespace="web")
    status, _, answer = await world.get(PATH, method="POST", body=body)
    assert status == 503
    assert b"denied" not in answer


async def test_of_whom_no_grants_govern_the_cluster_is_asked(world: World) -> None:
    body = question(verb="delete", resource="pods", namespace="web")
    assert (await world.get(PATH, method="POST", body=body))[0] == 200
    govern(world, grant("alice", "cluster-admin", cluster("prod")))
    assert (await world.get(PATH, method="POST", body=body))[0] == 200
    world.access = people.access()
    status, _, answer = await world.get(RULES, method="POST", body=rules_question())
    assert (status, b"PodList" in answer) == (200, True)

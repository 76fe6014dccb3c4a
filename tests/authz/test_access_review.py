"""Access reviews for `--as`: what is asked, in which order, and that only a clear yes counts."""

import asyncio
import json
from typing import Any

import pytest

from proxy.authz.access_review import ClusterAccessReviewer
from proxy.clock import ManualClock
from proxy.errors import DeniedError, UnavailableError
from proxy.kube.impersonation import Identity
from proxy.reaching import Upstream
from proxy.upstream.cluster import Target
from proxy.upstream.pool import Pool

ALICE = Identity("alice", ("dev",))
WANTED = Identity(
    "system:serviceaccount:shop:robot", ("ops",), "7", (("example.com/scope", ("a", "b")),)
)
ASKED = [
    ("", "serviceaccounts", "robot", "shop", ""),
    ("", "groups", "ops", "", ""),
    ("authentication.k8s.io", "uids", "7", "", ""),
    ("authentication.k8s.io", "userextras", "a", "", "example.com/scope"),
    ("authentication.k8s.io", "userextras", "b", "", "example.com/scope"),
]


async def review(answers: list[tuple[int, Any]]) -> list[dict[str, str]]:
    """Review with a server that gives these answers in turn; returns what it was asked."""
    asked: list[dict[str, str]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                document = json.loads(await reader.readexactly(length))
                assert head.startswith(
                    b"POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews "
                )
                assert b"\r\nImpersonate-User: alice\r\n" in head
                assert b"\r\nAudit-ID: the-call\r\n" in head
                asked.append(document["spec"]["resourceAttributes"])
                code, answer = answers[len(asked) - 1]
                body = json.dumps(answer).encode()
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (code, len(body)))
                writer.write(body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    pool = Pool(Upstream(), ManualClock())
    target = Target("prod", "127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        await ClusterAccessReviewer(pool).review(target, ALICE, WANTED, "the-call")
    finally:
        pool.close()
        server.close()
        await asyncio.sleep(0.01)
    return asked


YES = (201, {"status": {"allowed": True}})


async def test_every_item_is_asked_for() -> None:
    asked = await review([YES] * 5)
    keys = ("group", "resource", "name", "namespace", "subresource")
    assert [tuple(item.get(key, "") for key in keys) for item in asked] == ASKED
    assert {item["verb"] for item in asked} == {"impersonate"}


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize(
    "no", [{"allowed": False}, {}, {"allowed": True, "denied": True}], ids=["no", "unsaid", "both"]
)
async def test_one_no_is_enough(place: int, no: dict[str, bool]) -> None:
    with pytest.raises(DeniedError, match="user 'alice' may not impersonate"):
        await review([YES] * place + [(201, {"status": no})])


@pytest.mark.parametrize(
    "answer",
    [
        (403, {"status": {"allowed": True}}),
        (500, {"status": {"allowed": True}}),
        (302, {"status": {"allowed": True}}),
        (201, {}),
        (201, {"status": {"allowed": 1}}),
        (201, [True]),
        (201, "allowed"),
    ],
)
async def test_anything_but_a_decision_is_none(answer: tuple[int, Any]) -> None:
    with pytest.raises(UnavailableError):
        await review([YES, answer])

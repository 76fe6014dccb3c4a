"""A stolen kubeconfig, on three replicas: noticed where it is used, and all of its owner's access
ended by the one command that an investigation names.

Addresses of 127.0.0.0/8 are real ones: the owner's and the thief's connections differ in nothing
else, and each goes to a replica of its own.
"""

import contextlib
import http.client
import shlex
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from proxy.cli.client import Client, Server
from proxy.cli.connection import of_data_dir
from proxy.errors import KubewitnessError
from proxy.pki.keys import csr, key_pem, new_key
from tests.faults.oracle import Violations
from tests.faults.replicas_changes import PROMPT, Changes, Ending, client_context
from tests.faults.replicas_site import Replica, Site, site, together

OWNER, POOL, THIEF = "127.0.0.1", "127.0.0.50", "127.66.6.6"
PODS = "/clusters/dev/api/v1/namespaces/shop/pods"
SHARED = 15.0
"""Seconds in which replicas on a busy machine know what the others saw."""


pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("stolen"), {}, "") as running:
        yield running


class Alice:
    """All that she has to log in with."""

    def __init__(self, made: Site) -> None:
        self.admin = made.replicas[0].admin()
        self.admin.post("/users", {"name": "alice", "kind": "person"})
        grant = {"subject": {"kind": "user", "name": "alice"}, "role": "admin"}
        self.admin.post("/grants", grant | {"scope": {"kind": "organization"}})
        path = made.folder / "alice.kubeconfig"
        issue = ("kubeconfig", "issue", "alice", "--cluster", "dev", "--ttl", "1h", "-o", str(path))
        made.replicas[0].cli(*issue)
        self.kubectl = client_context(path, made.folder / "alice.pem")
        self._admin, self._renew = self._issued("admin"), self._issued("renew")
        token = {"user": "alice", "permissions": ["audit.look"], "expiresAt": "1h"}
        self._token = self.admin.post("/tokens", token)["token"]

    def _issued(self, usage: str) -> tuple[str, str]:
        key = new_key()
        wanted: dict[str, Any] = {
            "user": "alice",
            "csr": csr(key, "alice").decode(),
            "usage": usage,
            "ttl": "1h",
        }
        clusters = {"clusters": ["dev"]} if usage == "renew" else {}
        answer = self.admin.post("/credentials", wanted | clusters)
        return answer["certificate"], key_pem(key).decode()

    def _server(self, replica: Replica, pair: tuple[str, str]) -> Server:
        return replace(of_data_dir(replica.data_dir), certificate=pair[0], key=pair[1])

    def looks(self, replica: Replica) -> Client:
        """The control plane, by certificate."""
        return Client(self._server(replica, self._admin))

    def machine(self, replica: Replica) -> Client:
        """The control plane, by API token."""
        return Client(replace(self._server(replica, ("", "")), token=self._token))

    def plugin(self, replica: Replica) -> Client:
        """What makes short-lived certificates."""
        return Client(self._server(replica, self._renew))

    def renew(self, replica: Replica) -> None:
        self.plugin(replica).post("/credentials/renew", {"csr": csr(new_key(), "alice").decode()})

    def get(self, replica: Replica, path: str = PODS, source: str = OWNER) -> int:
        """The status of a call, on a connection of its own."""
        with contextlib.closing(self._connection(replica, source)) as connection:
            connection.request("GET", path)
            return connection.getresponse().status

    def watch(self, replica: Replica) -> "Ending":
        """A stream that goes on until somebody cuts it."""
        connection = self._connection(replica, OWNER)
        connection.request("GET", f"{PODS}?watch=true")
        answer = connection.getresponse()
        assert answer.status == 200

        def read() -> None:
            with contextlib.closing(connection), contextlib.closing(answer):
                answer.read()

        return Ending(read)

    def _connection(self, replica: Replica, source: str) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            "127.0.0.1", replica.ports[0], timeout=60, context=_any_name(self.kubectl),
            source_address=(source, 0),
        )  # fmt: skip


def _any_name(context: ssl.SSLContext) -> ssl.SSLContext:
    context.check_hostname = False  # the certificate names localhost, which may be ::1
    return context


def tailing(client: Client) -> Ending:
    return Ending(lambda: list(client.events("/audit/tail")))


def refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except KubewitnessError as error:
        return "401" in str(error.message) or "revoked" in error.message or "token" in error.message
    return False


def eventually(condition: Callable[[], object], seconds: float, what: str) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, what
        time.sleep(0.1)


def flags(client: Client, **query: str) -> list[tuple[str, tuple[str, ...]]]:
    items = client.get("/audit/suspicious", query)["items"]
    return [(item["address"], tuple(item["flags"])) for item in items]


def test_a_stolen_kubeconfig_is_noticed_and_everything_of_its_owner_s_ended(made: Site) -> None:
    alice, (one, two, three) = Alice(made), made.replicas
    assert alice.get(one) == 200
    eventually(
        lambda: [
            (item["credentials"], item["address"]) for item in investigation(three)["addresses"]
        ],
        SHARED,
        "what one replica saw is not known to the others",
    )
    # From here on each replica knows the owner's network, whatever of it is used.
    time.sleep(3)
    for replica in made.replicas:
        assert alice.get(replica, source=POOL) == 200
    assert flags(three.admin(), user="alice") == []

    assert alice.get(two, source=THIEF) == 200
    eventually(lambda: flags(three.admin(), user="alice"), SHARED, "the thief was not noticed")
    assert flags(three.admin(), user="alice") == [
        (THIEF, ("new-address", "new-network", "two-networks"))
    ]

    page = investigation(three)
    assert {item["address"] for item in page["addresses"]} >= {OWNER, THIEF}
    assert [item["address"] for item in page["flagged"]] == [THIEF]
    assert len(page["credentials"]) == 3
    assert len(page["tokens"]) == 1

    cuts = together(alice.watch, made.replicas)
    for replica in made.replicas:
        cuts += [tailing(alice.looks(replica)), tailing(alice.machine(replica))]
        alice.renew(replica)
    time.sleep(1)
    assert [cut.at for cut in cuts] == [None] * 9

    words = shlex.split(page["revoke"][0])
    assert words[0] == "kubewitness"
    three.cli(*words[1:])
    done = time.monotonic()
    for replica in made.replicas:
        eventually(lambda: alice.get(replica) == 401, PROMPT, "a call is not refused")  # noqa: B023
    ended = [cut.within(5 * PROMPT) for cut in cuts]
    assert max(ended) - done < PROMPT, "a stream goes on"
    for replica in made.replicas:
        for attempt in (
            lambda: alice.looks(replica).get("/audit/calls"),  # noqa: B023
            lambda: alice.machine(replica).get("/audit/calls"),  # noqa: B023
            lambda: alice.renew(replica),  # noqa: B023
        ):
            assert refused(attempt)
    after = investigation(one)
    assert {item["status"] for item in after["credentials"]} == {"revoked"}
    assert {item["status"] for item in after["tokens"]} == {"revoked"}
    assert len(after["credentials"]) == 6, "those renewed in between are revoked, too"
    assert 401 in {item["status"] for item in after["denied"]}


def test_who_loses_a_grant_is_refused_and_cut_at_every_replica(made: Site) -> None:
    changes = Changes(made, Violations())
    changes.grant_and_revoke(1)
    assert not changes.say, changes
    assert len(changes.cuts) == len(made.replicas)


def investigation(replica: Replica) -> dict[str, Any]:
    found: dict[str, Any] = replica.admin().get("/users/alice/investigation")
    return found

"""Changes that must hold at every replica within a second: credentials, clusters, and grants.

Each is made at one replica and tried at all of them; at the one that made it, the very next call
must go by it. Whoever loses their grant loses their open streams with it.
"""

import base64
import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from proxy.errors import KubewitnessError
from tests.faults.client import Reader
from tests.faults.oracle import Violations
from tests.faults.replicas_site import COUNT, Replica, Site

PROMPT: Final = 1.0
"""Seconds in which a change made at one replica holds at all."""
_STREAM: Final = "watch=true&timeoutSeconds=60"
_CUT: Final = 5 * PROMPT
"""Seconds that a stream is waited for, at most."""


class Ending:
    """When something that goes on ended, on the clock of `time.monotonic`."""

    def __init__(self, until_it_ends: Callable[[], object]) -> None:
        self.at: float | None = None
        self._thread = threading.Thread(target=self._run, args=(until_it_ends,), daemon=True)
        self._thread.start()

    def _run(self, until_it_ends: Callable[[], object]) -> None:
        # However it ends: a cut stream is one.
        with contextlib.suppress(OSError, http.client.HTTPException, KubewitnessError):
            until_it_ends()
        self.at = time.monotonic()

    def within(self, seconds: float) -> float:
        """When it ended. Raises AssertionError when it goes on for so long."""
        self._thread.join(seconds)
        assert self.at is not None, "it goes on"
        return self.at


@dataclass
class Changes:
    """Makes changes and times them."""

    site: Site
    say: Violations
    delays: list[float] = field(default_factory=list)
    """Seconds until a change of a credential or a cluster held everywhere."""
    grants: list[float] = field(default_factory=list)
    """The same of grants."""
    cuts: list[float] = field(default_factory=list)
    """Seconds until a stream was cut whose grant was revoked."""

    def counts(self) -> dict[str, int | float | str]:
        """For a report."""
        named = {
            "change holds everywhere after s (max)": self.delays,
            "grant holds everywhere after s (max)": self.grants,
            "stream without a grant cut after s (max)": self.cuts,
        }
        found: dict[str, int | float | str] = {
            name: round(max(delays), 3) for name, delays in named.items() if delays
        }
        return found | ({"changes of grants": len(self.grants)} if self.grants else {})

    def make(self, number: int) -> None:
        """All kinds of changes once; `number` says which replica makes which."""
        self.credentials_and_clusters(number)
        if not self.say:
            self.grant_and_revoke(number)

    def credentials_and_clusters(self, number: int) -> None:
        """A new credential and its end, a new cluster and its end."""
        one, two, three = self._replicas(number)
        user, cluster = f"mallory{number}", f"extra{number}"
        context = self._context(one, user, "*")
        added = {"name": cluster, "kubeconfig": self.site.sandbox.read_text()}
        self._until(None, context, "prod", 200, "accepts a new credential", self.delays)
        two.admin().post("/clusters", added)
        # The one that made it may not have reached it yet.
        self._until(None, context, cluster, 200, "reaches a new cluster", self.delays)
        three.admin().delete(f"/clusters/{cluster}")
        what = "knows that a cluster was removed"
        self._until(three, context, cluster, 403, what, self.delays)
        two.admin().post("/credentials/revoke", {"user": user})
        self._until(two, context, "prod", 401, "refuses a revoked credential", self.delays)

    def grant_and_revoke(self, number: int) -> None:
        """A user without a grant, then with one, then without it again, in the middle of a stream."""
        one, two, three = self._replicas(number)
        user = f"grantee{number}"
        context = self._context(one, user, "prod")
        one.admin().post("/users", {"name": user, "kind": "person"})
        what = "knows that its user is registered, and holds no grant"
        self._until(one, context, "prod", 403, what, self.grants)
        grant = two.admin().post(
            "/grants",
            {
                "subject": {"kind": "user", "name": user},
                "role": "cluster-admin",
                "scope": {"kind": "cluster", "cluster": "prod"},
            },
        )
        self._until(two, context, "prod", 200, "knows a new grant", self.grants)
        streams = [_stream(replica, context) for replica in self.site.replicas]
        if any(stream.at is not None for stream in streams):
            self.say.say("a stream ended whose grant stands")
            return
        three.admin().post(f"/grants/{grant['id']}/revoke", {"reason": "rig"})
        began = time.monotonic()
        self._until(three, context, "prod", 403, "knows that a grant was revoked", self.grants)
        for stream, replica in zip(streams, self.site.replicas, strict=True):
            try:
                self.cuts.append(stream.within(_CUT) - began)
            except AssertionError:
                self.cuts.append(_CUT)
            if self.cuts[-1] > PROMPT:
                self.say.say(
                    f"replica {replica.number}: the stream of a revoked grant went on for "
                    f"{self.cuts[-1]:.2f} s"
                )

    def _replicas(self, number: int) -> list[Replica]:
        return [self.site.replicas[(number + turn) % COUNT] for turn in range(COUNT)]

    def _context(self, replica: Replica, user: str, *clusters: str) -> ssl.SSLContext:
        kubeconfig = self.site.kubeconfig(replica, user, *clusters)
        return client_context(kubeconfig, self.site.folder / f"{user}.pem")

    def _until(
        self, maker: Replica | None, context: ssl.SSLContext, cluster: str, status: int, what: str,
        delays: list[float],
    ) -> None:  # fmt: skip
        """Try everywhere until each replica answers with `status`; a violation when that is late.

        At `maker`, where the change was made, no later call may be answered otherwise.
        """
        began = time.monotonic()
        found = status if maker is None else status_of(maker, context, cluster)
        if found not in (status, 0):  # cut before it is answered, it was not let through either
            self.say.say(f"the next call at the replica that made the change: {found}; not {what}")
        waiting = list(self.site.replicas)
        while waiting and time.monotonic() - began < 5 * PROMPT:
            waiting = [each for each in waiting if status_of(each, context, cluster) != status]
        delays.append(time.monotonic() - began)
        if waiting or delays[-1] > PROMPT:
            self.say.say(f"after {delays[-1]:.2f} s not every replica {what}")


def client_context(kubeconfig: Path, target: Path) -> ssl.SSLContext:
    """A client's TLS with the identity of a kubeconfig."""
    found = yaml.safe_load(kubeconfig.read_text())
    cluster, login = found["clusters"][0]["cluster"], found["users"][0]["user"]
    trust = base64.b64decode(cluster["certificate-authority-data"]).decode()
    parts = (login["client-certificate-data"], login["client-key-data"])
    target.write_bytes(b"\n".join(map(base64.b64decode, parts)))
    context = ssl.create_default_context(cadata=trust)
    context.load_cert_chain(target)
    return context


def status_of(replica: Replica, context: ssl.SSLContext, cluster: str) -> int:
    """The status of a read there, on a connection of its own; 0 when there is none."""
    try:
        with _asked(replica, context, cluster) as sock:
            return Reader(sock).next().status
    except OSError:
        return 0


def _stream(replica: Replica, context: ssl.SSLContext) -> Ending:
    """A watch at `replica` that goes on until somebody cuts it; it has begun when this returns."""
    sock = _asked(replica, context, "prod", f"?{_STREAM}")
    begun = sock.recv(4096)
    assert begun.startswith(b"HTTP/1.1 200"), begun

    def read() -> None:
        with sock:
            while sock.recv(65536):
                pass

    return Ending(read)


def _asked(
    replica: Replica, context: ssl.SSLContext, cluster: str, query: str = ""
) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", replica.ports[0]), timeout=5)
    try:
        sock = context.wrap_socket(plain, server_hostname="localhost")
    except OSError:
        plain.close()
        raise
    path = f"/clusters/{cluster}/api/v1/namespaces/default/configmaps{query}"
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return sock

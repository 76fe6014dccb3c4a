"""A control plane in a thread: real certificates, real TLS, real journal and state, scripted clusters."""

import asyncio
import http.client
import json
import ssl
import threading
from asyncio import Future
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from proxy.audit.acts import Acts, into
from proxy.audit.event import (
    Call,
    ObjectRef,
    Progress,
    ResponseStatus,
    Stage,
    User,
    describe,
    new_id,
    stage,
)
from proxy.audit.index.indexer import Indexer
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.index.store import Page
from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import JournalUnavailableError
from proxy.audit.strangers import Strangers
from proxy.authn.suspicion import Suspicion
from proxy.cli.client import Client, Server, tls_context
from proxy.cli.connection import of_data_dir
from proxy.clock import SystemClock, rfc3339
from proxy.control.app import build
from proxy.control.entry.services import Services
from proxy.data_dir import DataDir
from proxy.errors import UnavailableError
from proxy.gateway.tls import ServerFiles, ServerTLS
from proxy.metrics import Metrics
from proxy.pki.authorities import Authorities
from proxy.pki.keys import csr, key_pem, new_key
from proxy.pki.server import server_certificate
from proxy.reaching import Upstream
from proxy.runtime.admin import ensure_admin
from proxy.runtime.web import WebListener, bind
from proxy.settings import Limits, Settings
from proxy.state.access import ORGANIZATION, Scope, SubjectKind, UserKind
from proxy.state.database import sqlite_url
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from proxy.state.snapshot import ClusterRecord, Credential, Usage
from proxy.state.watcher import SnapshotWatcher
from proxy.tasks import cancel, spawn
from proxy.upstream.permissions import ClusterExaminer

T = TypeVar("T")
ADVERTISED = "proxy.example:8443"


@dataclass(frozen=True)
class Seen:
    """What a look at a cluster shows."""

    server: str = "https://cluster.example:6443"
    version: str = "v1.37.2"
    note: str = ""


@dataclass
class ScriptedClusters:
    """Clusters that answer what a test says."""

    seen: Seen = field(default_factory=Seen)
    failure: str = ""
    bug: str = ""
    kubeconfigs: list[bytes] = field(default_factory=list)

    async def examine(self, name: str, kubeconfig: bytes, *, in_cluster: bool) -> Seen:
        self.kubeconfigs.append(kubeconfig)
        del name, in_cluster
        return self._answer()

    async def check(self, record: ClusterRecord) -> Seen:
        del record
        return self._answer()

    def _answer(self) -> Seen:
        if self.bug:
            raise RuntimeError(self.bug)
        if self.failure:
            raise UnavailableError(self.failure)
        return self.seen


class WatchedJournal:
    """The real journal; refuses on demand, and shows what became durable."""

    def __init__(self, inner: JournalWriter) -> None:
        self.inner = inner
        self.durable: list[dict[str, Any]] = []
        self.refuse = ""
        self.refuse_after: int | None = None
        """Refuse once so many more records were taken."""

    def append(self, body: bytes, *, urgent: bool = True, reserve: bool = False) -> Future[int]:
        del urgent, reserve
        if self.refuse_after is not None:
            self.refuse_after -= 1
            if self.refuse_after < 0:
                self.refuse = "no space left on device"
        if self.refuse:
            raise JournalUnavailableError(self.refuse)
        future = self.inner.append(body)
        future.add_done_callback(lambda _: self.durable.append(json.loads(b"{%b}" % body)))
        return future

    def post(self, body: bytes) -> None:
        self.inner.post(body)
        self.durable.append(json.loads(b"{%b}" % body))

    @property
    def failure(self) -> str:
        return self.refuse or self.inner.failure

    @property
    def reserve_left(self) -> int:
        return self.inner.reserve_left


class WatchedIndex(SqliteIndex):
    """The real index, which fails after so many searches, or takes nothing new."""

    fail_after: int | None = None
    behind = False

    async def insert(self, *args: Any, **kwargs: Any) -> None:
        if self.behind:
            raise UnavailableError("The index takes nothing.")
        await super().insert(*args, **kwargs)

    async def search(self, *args: Any, **kwargs: Any) -> Page:
        if self.fail_after is not None:
            self.fail_after -= 1
            if self.fail_after < 0:
                raise UnavailableError("The index does not answer.")
        return await super().search(*args, **kwargs)


class Plane:
    """The control plane and what is behind it; `run` works inside its event loop."""

    def __init__(
        self,
        path: Path,
        limits: Limits | None = None,
        *,
        upstream: Upstream | None = None,
        in_cluster: str = "",
        examining: bool = False,
    ) -> None:
        """With `examining` clusters are reached as `serve` reaches them, not scripted."""
        self.data = DataDir(path)
        self.limits = limits or Limits()
        self.upstream = upstream or Upstream()
        self.in_cluster = in_cluster
        self.examining = examining
        self.clusters = ScriptedClusters()
        self.clock = SystemClock()
        self.services: Services
        self.journal: WatchedJournal
        self.address = ""
        self._stack = AsyncExitStack()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def __enter__(self) -> "Plane":
        self._thread.start()
        self.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def stop(self) -> None:
        """Stop serving; a second time does nothing."""
        self.run(self._stack.aclose())

    async def _start(self) -> None:
        settings = Settings(
            data_dir=self.data.path,
            limits=self.limits,
            upstream=self.upstream,
            in_cluster=self.in_cluster,
        )
        data, clock = self.data, self.clock
        data.create()
        data.settings.touch()
        authorities = Authorities.open(data.pki, clock=clock)
        certificate = server_certificate(authorities, ["127.0.0.1", "localhost"], clock=clock)
        box = SecretBox.open(data.state_key)
        store = await StateStore.open(sqlite_url(data.path / "state.db"), box, clock=clock)
        self._stack.push_async_callback(store.close)
        writer = await JournalWriter.open(data.path, "control", settings.journal, clock=clock)
        self._stack.push_async_callback(writer.close)
        self.journal = WatchedJournal(writer)
        self.index = index = await WatchedIndex.open(data.index_database)
        self._stack.push_async_callback(index.close)
        indexer = Indexer(data.journal, index, clock=clock)
        writer.on_durable(indexer.wake)
        running = spawn(indexer.run(), name="indexer")
        self._stack.push_async_callback(cancel, running)
        watcher = SnapshotWatcher(store, clock=clock)
        metrics = Metrics()
        strangers = Strangers(
            "control", self.journal, clock, metrics, per_minute=settings.limits.recorded_refusals
        )
        self._stack.callback(strangers.close)
        self.services = Services(
            settings=settings,
            clock=clock,
            metrics=metrics,
            suspicion=Suspicion(settings.suspicious, clock=clock, metrics=metrics),
            strangers=strangers,
            journal=self.journal,
            store=store,
            watcher=watcher,
            authorities=lambda: authorities,
            clusters=ClusterExaminer(store, self.upstream, clock=clock)
            if self.examining
            else self.clusters,
            index=index,
            indexer=indexer,
            advertised=lambda: ADVERTISED,
        )
        trust = data.pki / "trust.pem"
        trust.write_bytes(authorities.bundle_pem())
        tls = ServerTLS(
            ServerFiles(certificate.certificate, certificate.key, trust.read_bytes, lambda: [trust])
        )
        sock = bind("127.0.0.1:0", "control")
        listener = WebListener(build(self.services), sock, tls.context)
        self.address = listener.address
        acts = Acts(into(writer), clock)
        server = f"https://{self.address}"
        await ensure_admin(data, store, authorities, acts, server=server, clock=clock)
        await watcher.start()
        self._stack.push_async_callback(watcher.close)
        await listener.start()
        self._stack.push_async_callback(listener.stop)

    def admin(self) -> Server:
        return of_data_dir(self.data.path)

    def client(self) -> Client:
        return Client(self.admin())

    def credential(
        self, user: str = "alice", usage: Usage = Usage.KUBECTL, ttl: float = 3600
    ) -> Server:
        """A server reached with a credential of `user`, recorded as every other."""
        key = new_key()
        issued = self.services.authorities().issue(
            csr(key, user), user=user, groups=("dev",), ttl=ttl
        )
        credential = Credential(
            serial=issued.serial, user=user, groups=("dev",), clusters=("prod",), usage=usage,
            issued_at=self.clock.now(), not_after=issued.not_after, fingerprint=issued.fingerprint,
        )  # fmt: skip
        self.run(self._record(credential))
        return replace(self.admin(), certificate=issued.pem.decode(), key=key_pem(key).decode())

    def granted(self, user: str, role: str, scope: Scope = ORGANIZATION) -> Server:
        """A server reached with an admin credential of somebody who is granted a role."""
        server = self.credential(user, Usage.ADMIN)
        self.run(self._grant(user, role, scope))
        return server

    async def _grant(self, user: str, role: str, scope: Scope) -> None:
        people = self.services.store.people
        if user not in self.services.watcher.current.access.users:
            await people.add_user(user, kind=UserKind.PERSON, by="test")
        await people.add_grant(
            subject_kind=SubjectKind.USER, subject=user, role=role, scope=scope, by="test"
        )
        await self.services.watcher.refresh()

    async def _record(self, credential: Credential) -> None:
        for name in credential.clusters:
            known = await self.services.store.clusters()
            if name not in {record.name for record in known}:
                await self.services.store.add_cluster(name, server="https://c:6443", kubeconfig=b"")
        await self.services.store.record_credential(credential)
        await self.services.watcher.refresh()

    def call(self, code: int | None = 200, **given: Any) -> str:
        """Record a call as the gateway does, durable on return; its audit id."""
        call = a_call(**given)
        self.run(self._append(self.bodies(code, call)))
        return call.audit_id

    def bodies(self, code: int | None = 200, call: Call | None = None) -> list[bytes]:
        """The events of a call; without a code it has not ended."""
        described, now = describe(call or a_call()), self.clock.now()
        bodies = [stage(described, Stage.REQUEST_RECEIVED, now)]
        if code is not None:
            progress = Progress(
                ResponseStatus(code), bytes_out=2048, upstream_micros=800, total_micros=1500
            )
            bodies.append(stage(described, Stage.RESPONSE_COMPLETE, now, progress))
        return bodies

    async def _append(self, bodies: list[bytes]) -> None:
        await asyncio.gather(*map(self.journal.append, bodies))

    def events(self, action: str = "") -> list[dict[str, Any]]:
        """Durable system events, oldest first."""
        return [item for item in self.journal.durable if not action or item.get("action") == action]


def a_call(**given: Any) -> Call:
    """A plain `kubectl get pod web-0` of alice, with what a test wants to differ."""
    now = SystemClock().now()
    members: dict[str, Any] = {
        "audit_id": new_id(now),
        "request_received_timestamp": rfc3339(now),
        "source_ips": ("10.0.0.1",),
        "user": User("alice", groups=("dev",)),
        "verb": "get",
        "http_method": "GET",
        "request_uri": "/api/v1/namespaces/shop/pods/web-0",
        "cluster": "prod",
        "call_class": "read",
        "object_ref": ObjectRef("pods", "shop", "web-0", "", "v1"),
        "tool": "kubectl",
        "kubectl_command": "kubectl get",
        "kubectl_session": "5f0c",
    }
    return Call(**(members | given))


def raw(
    plane: Plane,
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    anonymous: bool = False,
    server: Server | None = None,
    **headers: str,
) -> tuple[int, dict[str, str], Any]:
    """One request without our client, so that its checks cannot hide the server's."""
    context = tls_context(server or plane.admin())
    if anonymous:
        context = ssl.create_default_context(cadata=plane.admin().ca)
    host, port = plane.address.split(":")
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=10)
    # Not UTF-8: a record must survive it.
    sent = {"User-Agent": "raw \xff", "Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    connection.request(method, path, body, sent)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), json.loads(content) if content else None

"""Looking at a cluster with our own account: whether it answers, and what we may do there.

Rules are asked for (SelfSubjectRulesReview), and because an authorizer that is not RBAC cannot
list its rules, a few telling questions are asked as well (SelfSubjectAccessReview).
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import msgspec
from cryptography import x509
from yarl import URL

from proxy.clock import Clock
from proxy.errors import UnavailableError
from proxy.reaching import Upstream
from proxy.state.repository import StateStore
from proxy.state.snapshot import ClusterRecord
from proxy.upstream.cluster import EXTRA_CREDENTIAL, EXTRA_IMPERSONATOR, Target
from proxy.upstream.excess import (
    PathRule,
    ResourceRule,
    excess_of_paths,
    excess_of_rules,
    sentence,
)
from proxy.upstream.handle import TargetHandle, load_target

_SECONDS: Final = 10.0
"""How long a cluster may take for one answer."""
_LARGEST: Final = 1024 * 1024
_NAMESPACES: Final = ("default", "kube-system")
_REVIEWS: Final = "/apis/authorization.k8s.io/v1"
_Attributes = Mapping[str, str]
_EVERYTHING: Final = "do everything"
_PROBES: Final[tuple[tuple[str, _Attributes], ...]] = (
    (_EVERYTHING, {"verb": "*", "group": "*", "resource": "*"}),
    ("get secrets", {"verb": "get", "resource": "secrets", "namespace": "kube-system"}),
    ("create pods", {"verb": "create", "resource": "pods", "namespace": "default"}),
    ("get nodes/proxy", {"verb": "get", "resource": "nodes", "subresource": "proxy"}),
    (
        "impersonate any group, system:masters included",
        {"verb": "impersonate", "resource": "groups", "name": "system:masters"},
    ),
    (
        "escalate clusterroles.rbac.authorization.k8s.io",
        {"verb": "escalate", "group": "rbac.authorization.k8s.io", "resource": "clusterroles"},
    ),
)
"""What must be answered no, and the words for a yes."""


class ClusterUnreachableError(UnavailableError):
    """A cluster did not answer, or not as an API server does. The message says why."""


@dataclass(frozen=True, slots=True)
class ClusterCheck:
    """What a look at a cluster showed."""

    server: str
    version: str
    """`gitVersion`; empty when it does not say."""
    latency: float
    """Seconds that one small request took, connecting not included."""
    certificate_expires: float | None
    """When its server certificate ends (seconds since the epoch); None for plain HTTP."""
    excess: tuple[str, ...]
    """What our account may do beyond impersonating."""
    missing: tuple[str, ...]
    """What our account may not do and calls need."""

    @property
    def note(self) -> str:
        """`excess` and `missing` as a note for people; empty when the account is just right."""
        lacking = (
            f"The proxy's account there may not {', nor '.join(self.missing)}; calls will be refused."
            if self.missing
            else ""
        )
        return " ".join(filter(None, (sentence(self.excess), lacking)))


async def check(target: Target, *, clock: Clock) -> ClusterCheck:
    """Look at the cluster behind `target` with our own account.

    Raises ClusterUnreachableError when it does not answer or does not accept the account.
    """
    async with _Questions.to(target) as ask:
        certificate_expires = await ask.certificate_end()
        version = await ask.get("/version")
        started = clock.monotonic()
        await ask.get("/version")
        latency = clock.monotonic() - started
        reviews = [await ask.rules(namespace) for namespace in _NAMESPACES]
        excess = excess_of_rules(rule for review in reviews for rule in review.resource_rules)
        excess += excess_of_paths(rule for review in reviews for rule in review.path_rules)
        excess = await _probed(ask, excess)
        missing = await _missing(
            ask, [rule for review in reviews for rule in review.resource_rules]
        )
        return ClusterCheck(
            server=str(ask.base),
            version=str(version.get("gitVersion", "")),
            latency=latency,
            certificate_expires=certificate_expires,
            excess=tuple(dict.fromkeys(excess)),
            missing=tuple(missing),
        )


async def answers(target: Target) -> None:
    """Ask the cluster behind `target` one small question with our own account.

    Raises ClusterUnreachableError when it does not answer or does not accept the account.
    """
    async with _Questions.to(target) as ask:
        await ask.get("/version")


async def _probed(ask: "_Questions", excess: list[str]) -> list[str]:
    """`excess` with what the probes add; "do everything" stands alone."""
    for phrase, attributes in _PROBES:
        if _EVERYTHING in excess:
            return [_EVERYTHING]
        if phrase not in excess and await ask.allowed(attributes):
            excess = [*excess, phrase]
    return excess


async def _missing(ask: "_Questions", rules: list[ResourceRule]) -> list[str]:
    missing = []
    # Users may be restricted to names, and then the general question is answered no.
    users = any({"impersonate"} & set(rule.verbs) and "users" in rule.resources for rule in rules)
    if not users and not await ask.allowed({"verb": "impersonate", "resource": "users"}):
        missing.append("impersonate users")
    for key in (EXTRA_CREDENTIAL, EXTRA_IMPERSONATOR):
        attributes = {
            "verb": "impersonate",
            "group": "authentication.k8s.io",
            "resource": "userextras",
            "subresource": key,
        }
        if not await ask.allowed(attributes):
            missing.append(f"impersonate userextras/{key}")
    return missing


class _Rules(msgspec.Struct, rename={"resource_rules": "resourceRules", "path_rules": "nonResourceRules"}):  # fmt: skip
    resource_rules: tuple[ResourceRule, ...] = ()
    path_rules: tuple[PathRule, ...] = ()


class _Questions:
    """One connection's worth of questions to a cluster."""

    def __init__(self, session: aiohttp.ClientSession, target: Target) -> None:
        self._session = session
        self._target = target
        host = f"[{target.host}]" if ":" in target.host else target.host
        scheme = "http" if target.tls is None else "https"
        self.base = URL(f"{scheme}://{host}:{target.port}{target.base_path.decode()}", encoded=True)

    @classmethod
    @asynccontextmanager
    async def to(cls, target: Target) -> AsyncIterator["_Questions"]:
        """Questions for `target`; connections are closed at the end."""
        connector = aiohttp.TCPConnector(ssl=target.tls if target.tls is not None else True)
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            yield cls(session, target)

    async def get(self, path: str) -> dict[str, Any]:
        """The JSON object at `path`."""
        return await self._ask("GET", path, None)

    async def rules(self, namespace: str) -> _Rules:
        """What we may do in `namespace`, cluster-wide rules included."""
        answer = await self._review("SelfSubjectRulesReview", {"namespace": namespace})
        return msgspec.convert(_without_nulls(answer), _Rules)

    async def allowed(self, attributes: _Attributes) -> bool:
        """Whether we may do what `attributes` (ResourceAttributes) describe."""
        answer = await self._review("SelfSubjectAccessReview", {"resourceAttributes": attributes})
        return answer.get("allowed") is True

    async def _review(self, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        answer = await self._ask("POST", f"{_REVIEWS}/{kind.lower()}s", body)
        status = answer.get("status")
        if not isinstance(status, dict):
            raise self._error(f"it answered a {kind} without a status")
        return status

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        headers = {"Accept": "application/json", "User-Agent": "kubewitness"}
        own = self._target.authorization()
        if own is not None:
            headers["Authorization"] = own.decode("latin-1")
        try:
            async with self._session.request(
                method,
                URL(f"{self.base}{path}", encoded=True),
                json=body,
                headers=headers,
                allow_redirects=False,
                server_hostname=self._target.server_hostname,
            ) as response:
                answer = await response.content.read(_LARGEST)
                while more := await response.content.read(_LARGEST - len(answer) + 1):
                    answer += more
                    if len(answer) > _LARGEST:
                        raise self._error("its answer is over 1 MiB")
                status = response.status
        except TimeoutError as error:
            raise self._error(f"no answer within {_SECONDS:g} s") from error
        except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise self._error(_plain(error)) from error
        if status == 401:
            raise self._error("it does not accept the proxy's credential (401)")
        if status >= 300:
            raise self._error(f"it answered {method} {path} with {status}")
        try:
            return msgspec.json.decode(answer, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise self._error(f"what it answered to {path} is not JSON") from error

    async def certificate_end(self) -> float | None:
        """When the server's certificate ends; asked on a connection of its own."""
        target = self._target
        if target.tls is None:
            return None
        try:
            async with asyncio.timeout(_SECONDS):
                _, writer = await asyncio.open_connection(
                    target.host,
                    target.port,
                    ssl=target.tls,
                    server_hostname=target.server_hostname or target.host,
                )
        except TimeoutError as error:
            raise self._error(f"no TLS handshake within {_SECONDS:g} s") from error
        except ssl.SSLCertVerificationError as error:
            raise self._error(f"its certificate is not trusted: {error.verify_message}") from error
        except OSError as error:
            raise self._error(f"cannot connect: {error.strerror or error}") from error
        try:
            der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            writer.transport.abort()
        return x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp()

    def _error(self, why: str) -> ClusterUnreachableError:
        return ClusterUnreachableError(f"Cluster {self._target.name!r} at {self.base}: {why}.")


def _without_nulls(value: Any) -> Any:  # noqa: ANN401  # Go writes null for an empty list
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _plain(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {error.os_error.strerror or error.os_error}"
    return str(error) or type(error).__name__


class ClusterExaminer:
    """Looks at clusters for people: before one is registered, and on demand."""

    def __init__(self, store: StateStore, settings: Upstream, *, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    async def examine(
        self, name: str, kubeconfig: bytes, *, in_cluster: bool = False
    ) -> ClusterCheck:
        """Connect with the account of a kubeconfig (or the pod's own) and look what it may do; `name` is in errors.

        Raises InvalidInputError for an unusable kubeconfig, UnavailableError when the cluster
        does not answer or refuses the account.
        """
        handle = await load_target(
            name,
            None if in_cluster else kubeconfig,
            upstream=self._settings,
            in_cluster=in_cluster,
            clock=self._clock,
        )
        return await self._look(handle)

    async def check(self, record: ClusterRecord) -> ClusterCheck:
        """The same for a registered cluster, at once instead of at the next interval."""
        kubeconfig = b"" if record.in_cluster else self._store.kubeconfig(record)
        return await self.examine(record.name, kubeconfig, in_cluster=record.in_cluster)

    async def _look(self, handle: TargetHandle) -> ClusterCheck:
        try:
            async with asyncio.timeout(6 * _SECONDS):
                return await check(handle.target, clock=self._clock)
        except TimeoutError as error:
            raise ClusterUnreachableError(
                f"Cluster {handle.target.name!r} answers too slowly."
            ) from error
        finally:
            await handle.close()

"""A cluster that stays usable: its Target, kept fresh in the background.

A new token changes what `Target.authorization()` returns. A new client certificate makes a new
Target, since connections carry it.
"""

import asyncio
import ssl
from dataclasses import replace
from typing import Final

import structlog
from cryptography import x509

from proxy.clock import Clock
from proxy.reaching import Upstream
from proxy.tasks import cancel, spawn
from proxy.upstream.access import Access, load_document, read_access
from proxy.upstream.cluster import Target
from proxy.upstream.kubeclient import in_cluster_access, source_of
from proxy.upstream.login import Login, LoginError, LoginSource
from proxy.upstream.permitted import permitted
from proxy.upstream.trust import client_context

_EARLY: Final = 0.2
"""Share of a credential's remaining life that is left when it is replaced…"""
_EARLIEST: Final = 300.0
"""…but no sooner than this many seconds before its end."""
_SOONEST: Final = 5.0
"""Seconds between two renewals at least."""
_RETRY: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between attempts while a credential cannot be obtained; the last one repeats."""
_POKE_GAP: Final = 10.0
"""Seconds between refreshes that were asked for, so that a flood of 401s runs one plugin."""
_log = structlog.get_logger(__name__)


class TargetHandle:
    """Holds the current Target of one cluster. Made by `load_target`; `close` when done."""

    def __init__(
        self, name: str, access: Access, source: LoginSource, login: Login, clock: Clock
    ) -> None:
        self.warnings = access.warnings
        self.insecure = access.insecure
        self.server = access.server
        self._access = access
        self._source = source
        self._clock = clock
        self._login = login
        self._obtained = clock.monotonic()
        self._poked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        url = access.url
        self.target = Target(
            name=name,
            host=url.hostname or "",
            port=url.port or (443 if url.scheme == "https" else 80),
            base_path=url.path.rstrip("/").encode(),
            tls=self._context(login),
            server_hostname=access.server_name,
            authorization=self._authorization,
            unauthorized=self.poke,
            certificate_ends=_end(login),
        )
        """The cluster as it is now; ask again for each call."""

    def _authorization(self) -> bytes | None:
        return self._login.authorization

    def start(self) -> None:
        """Keep the credential fresh from now on; one that never changes costs nothing."""
        if self._task is None:
            self._task = spawn(self._keep_fresh(), name=f"credential of {self.target.name}")

    async def close(self) -> None:
        """Stop refreshing."""
        await cancel(self._task)

    def poke(self) -> None:
        """The cluster said 401: look for a newer credential soon, at most every ten seconds."""
        self._poked.set()

    async def _keep_fresh(self) -> None:
        failures = 0
        while True:
            await self._wait(_RETRY[min(failures, len(_RETRY)) - 1] if failures else self._due())
            try:
                self._take(await self._source.obtain())
            except LoginError as error:
                failures += 1
                self._failed(error, failures)
            else:
                failures = 0

    def _due(self) -> float | None:
        """Seconds until the credential is to be replaced; None when only a poke says so."""
        login = self._login
        if login.expires is not None:
            left = login.expires - self._clock.now()
            # Never in a tight loop, also when a plugin hands out what has ended already.
            return max(left - min(_EARLIEST, left * _EARLY), _SOONEST)
        return login.again_after

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._poked.wait()
        except TimeoutError:
            return
        # Someone asked. Those who ask while we pause here are served by the same refresh.
        await asyncio.sleep(self._pause())
        self._poked.clear()

    def _pause(self) -> float:
        return max(self._obtained + _POKE_GAP - self._clock.monotonic(), 0.0)

    def _take(self, login: Login) -> None:
        self._obtained = self._clock.monotonic()
        changed = login.certificate != self._login.certificate
        if changed or self.target.refused:
            tls = self._context(login) if changed else self.target.tls
            self.target = replace(self.target, tls=tls, certificate_ends=_end(login), refused="")
        self._login = login

    def _failed(self, error: LoginError, failures: int) -> None:
        name = self.target.name
        if failures == 1:
            _log.warning(
                "credential of a cluster cannot be renewed", cluster=name, error=str(error)
            )
        expires = self._login.expires
        if expires is not None and self._clock.now() >= expires and not self.target.refused:
            # The cluster would answer 401 in the user's face, as if it were about them.
            why = f"the proxy's own credential there has expired and cannot be renewed: {error}"
            self.target = replace(self.target, refused=why)

    def _context(self, login: Login) -> ssl.SSLContext | None:
        if self._access.url.scheme != "https":
            return None
        certificate, key = login.certificate or (None, None)
        return client_context(
            ca_pem=self._access.ca_pem,
            insecure=self._access.insecure,
            certificate_pem=certificate,
            key_pem=key,
        )


def _end(login: Login) -> float | None:
    if login.certificate is None or login.expires is not None:
        return None  # no certificate, or one that a plugin renews
    try:
        certificate = x509.load_pem_x509_certificate(login.certificate[0])
    except ValueError:
        return None  # TLS has said more about it already
    return certificate.not_valid_after_utc.timestamp()


async def load_target(
    name: str,
    kubeconfig: bytes | None,
    *,
    upstream: Upstream,
    in_cluster: bool = False,
    clock: Clock,
) -> TargetHandle:
    """A handle on cluster `name`, out of a stored kubeconfig (YAML) or the pod we run in.

    Obtains the credential once (an exec plugin runs now) and keeps it fresh from then on; does not
    connect. Raises AccessError for a kubeconfig that cannot be used, or uses what `upstream` does
    not permit, LoginError when the credential cannot be had.
    """
    # In a thread: it reads files, and calls are under way.
    access = await asyncio.to_thread(_read, kubeconfig, in_cluster, upstream)
    return await open_target(name, access, clock=clock)


async def open_target(name: str, access: Access, *, clock: Clock) -> TargetHandle:
    """The same out of an access that `proxy.upstream.permitted` let through, or the pod's own."""
    source = source_of(access)
    handle = TargetHandle(name, access, source, await source.obtain(), clock)
    handle.start()
    return handle


def _read(kubeconfig: bytes | None, in_cluster: bool, upstream: Upstream) -> Access:
    if in_cluster:
        return in_cluster_access()
    return permitted(read_access(load_document(kubeconfig or b"")), upstream)

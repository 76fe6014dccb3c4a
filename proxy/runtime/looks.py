"""Looks at clusters for the control plane: is it there, which version, what may we do."""

from dataclasses import dataclass

import msgspec

from proxy.clock import Clock
from proxy.errors import UnavailableError
from proxy.settings import Upstream
from proxy.state.sealing import SecretBox
from proxy.state.snapshot import ClusterRecord
from proxy.upstream.asking import ask
from proxy.upstream.cluster import Target
from proxy.upstream.connection import UpstreamError
from proxy.upstream.handle import load_target
from proxy.upstream.pool import Pool


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen; `proxy.control.services.Examination`."""

    server: str
    version: str
    note: str


class _Version(msgspec.Struct, rename="camel"):
    git_version: str = ""


class Looks:
    """Implements `proxy.control.services.Clusters`."""

    def __init__(self, settings: Upstream, box: SecretBox, clock: Clock) -> None:
        self._pool = Pool(settings, clock)
        self._box = box
        self._clock = clock

    def close(self) -> None:
        """Close what connections are kept."""
        self._pool.close()

    async def examine(self, kubeconfig: bytes, *, in_cluster: bool) -> Look:
        """See Clusters."""
        handle = await load_target("new", kubeconfig, in_cluster=in_cluster, clock=self._clock)
        try:
            return await self._look(handle.target)
        finally:
            await handle.close()

    async def check(self, record: ClusterRecord) -> Look:
        """See Clusters."""
        sealed = b"" if record.in_cluster else self._box.unseal(record.id, record.sealed)
        return await self.examine(sealed, in_cluster=record.in_cluster)

    async def _look(self, target: Target) -> Look:
        if target.refused:
            raise UnavailableError(f"The cluster cannot be used: {target.refused}.")
        scheme = "https" if target.tls is not None else "http"
        server = f"{scheme}://{target.host_header.decode()}{target.base_path.decode()}"
        try:
            status, answer = await ask(self._pool, target, b"GET", b"/version", [])
        except UpstreamError as error:
            raise UnavailableError(f"{server} does not answer: {error}.") from error
        if status != 200:
            raise UnavailableError(f"{server} answered {status} to /version.")
        try:
            version = msgspec.json.decode(answer, type=_Version).git_version
        except msgspec.DecodeError as error:
            raise UnavailableError(f"{server} is no Kubernetes API server.") from error
        return Look(server, version, "")

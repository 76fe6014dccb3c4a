"""What the processes of a rig share: certificates, ports, who may do what. Kept in a directory.

The rig makes it once; every process it starts (proxy, API server, clients) reads it.
"""

import json
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy.authn.certificate import identify
from proxy.gateway.tls import ServerFiles, server_context
from proxy.settings import Settings
from proxy.state.snapshot import ClusterRecord, Credential, Snapshot, Usage
from proxy.upstream.cluster import Target
from tests.gateway.world import Pair, make

USERS = {"alice": ("dev",), "warden": ("break-glass",)}
"""Users and their groups; both may reach the cluster `prod`."""
BREAK_GLASS = "break-glass"


@dataclass(frozen=True)
class Scene:
    """One rig's directory."""

    directory: Path

    @classmethod
    def make(cls, directory: Path) -> "Scene":
        """Issue everything, into `directory`, which exists."""
        ca = make("test authority")
        (directory / "ca.pem").write_bytes(ca.pem()[0])
        _write(
            directory / "server.pem", make("localhost", ca, usage=ExtendedKeyUsageOID.SERVER_AUTH)
        )
        identities = []
        for user, groups in USERS.items():
            pair = make(user, ca, groups=groups, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
            _write(directory / f"{user}.pem", pair)
            found = identify(pair.der)
            identities.append([found.serial, user, groups, found.not_after, found.fingerprint])
        (directory / "identities.json").write_text(json.dumps(identities))
        return cls(directory)

    @property
    def data_dir(self) -> Path:
        """Of the proxy."""
        return self.directory / "data"

    @property
    def journal(self) -> Path:
        """Where the proxy's segments lie."""
        return self.data_dir / "journal" / "0"

    @property
    def effects(self) -> Path:
        """What the API server executed."""
        return self.directory / "effects.log"

    def settings(self, **groups: Any) -> Settings:
        """The proxy's settings, with `groups` of the rig's own."""
        return Settings(data_dir=self.data_dir, listen="127.0.0.1:0", **groups)

    def snapshot(self) -> Snapshot:
        """Both users, and the cluster `prod`."""
        credentials = {}
        for serial, user, groups, ends, fingerprint in json.loads(
            (self.directory / "identities.json").read_text()
        ):
            credentials[serial] = Credential(
                serial, user, tuple(groups), ("prod",), Usage.KUBECTL, 0, ends, fingerprint
            )
        clusters = {"prod": ClusterRecord("prod", "id-prod", "https://127.0.0.1", 0, b"")}
        return Snapshot(1, MappingProxyType(credentials), MappingProxyType(clusters))

    def target(self, port: int) -> Target:
        """The cluster, on the port its API server listens on."""
        trust = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        return Target(
            "prod", "127.0.0.1", port, tls=trust, authorization=lambda: b"Bearer proxy-token"
        )

    def proxy_context(self) -> ssl.SSLContext:
        """The proxy's listener, as the product builds it."""
        pem, ca = self.directory / "server.pem", self.directory / "ca.pem"
        return server_context(ServerFiles(pem, pem, ca.read_bytes, lambda: [pem, ca]))

    def api_context(self) -> ssl.SSLContext:
        """The API server's listener."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "server.pem")
        return context

    def client_context(self, user: str) -> ssl.SSLContext:
        """A client's side, showing the certificate of `user`."""
        context = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        context.load_cert_chain(self.directory / f"{user}.pem")
        return context


def listener() -> socket.socket:
    """A socket that listens on loopback, to be inherited: clients find it whoever serves."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen(1024)
    return made


def _write(path: Path, pair: Pair) -> None:
    path.write_bytes(b"".join(pair.pem()))
    path.chmod(0o600)

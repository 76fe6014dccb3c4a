"""Certificates of the benchmark: one authority, a server, the proxies' and a user's client one."""

import ssl
from pathlib import Path

from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy.gateway import tls
from tests.gateway.world import Pair, make


def write(directory: Path) -> None:
    """Make `ca.pem`, and `server.pem`, `proxy.pem`, `alice.pem` with their keys."""
    authority = make("bench authority")
    (directory / "ca.pem").write_bytes(authority.pem()[0])
    server = ExtendedKeyUsageOID.SERVER_AUTH
    client = ExtendedKeyUsageOID.CLIENT_AUTH
    _save(directory, "server", make("localhost", authority, usage=server))
    _save(directory, "proxy", make("proxy", authority, usage=client))
    _save(directory, "alice", make("alice", authority, groups=("dev",), usage=client))


def _save(directory: Path, name: str, pair: Pair) -> None:
    path = directory / f"{name}.pem"
    path.touch(mode=0o600)
    path.write_bytes(b"".join(pair.pem()))


def server_context(directory: Path) -> ssl.SSLContext:
    """The data plane's own, from these files."""
    server, authority = directory / "server.pem", directory / "ca.pem"
    return tls.server_context(
        tls.ServerFiles(server, server, authority.read_bytes, lambda: [authority])
    )


def client_context(directory: Path, name: str) -> ssl.SSLContext:
    """Verifies the server and shows the certificate `name`."""
    context = ssl.create_default_context(cafile=directory / "ca.pem")
    context.load_cert_chain(directory / f"{name}.pem")
    return context

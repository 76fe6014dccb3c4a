import asyncio
import ssl
import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from proxy.clock import SystemClock
from proxy.pki.authorities import Authorities
from proxy.pki.keys import key_pem, new_key
from proxy.pki.server import server_certificate
from proxy.upstream.access import AccessError
from proxy.upstream.trust import client_context


@pytest.fixture
def authorities(tmp_path: Path) -> Authorities:
    return Authorities.open(tmp_path, clock=SystemClock())


async def handshake(
    authorities: Authorities, client: ssl.SSLContext, name: str = "127.0.0.1"
) -> tuple[str, str]:
    """(user of the client certificate, ALPN) as a server with `authorities` sees them."""
    pair = server_certificate(authorities, ("127.0.0.1",), clock=SystemClock())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    context.load_verify_locations(cadata=authorities.bundle_pem().decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["h2", "http/1.1"])
    seen: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()

    async def accepted(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls = writer.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True)
        user = x509.load_der_x509_certificate(der).subject.rfc4514_string() if der else ""
        seen.set_result((user, tls.selected_alpn_protocol()))
        writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client, server_hostname=name
        )
        await reader.read()
        writer.close()
        return await asyncio.wait_for(seen, 5)


async def test_shows_the_certificate_and_speaks_http_1(authorities: Authorities) -> None:
    key = new_key()
    issued = authorities.issue(key.public_key(), user="proxy", ttl=60)
    context = client_context(
        ca_pem=authorities.bundle_pem(), certificate_pem=issued.pem, key_pem=key_pem(key)
    )
    assert await handshake(authorities, context) == ("CN=proxy", "http/1.1")
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("name", ["localhost", "10.0.0.1"])
async def test_another_name_is_not_trusted(authorities: Authorities, name: str) -> None:
    context = client_context(ca_pem=authorities.bundle_pem())
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(authorities, context, name)


async def test_another_authority_is_not_trusted(authorities: Authorities, tmp_path: Path) -> None:
    other = Authorities.open(tmp_path / "other", clock=SystemClock())
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(authorities, client_context(ca_pem=other.bundle_pem()))


async def test_the_machines_store_does_not_trust_it(authorities: Authorities) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(authorities, client_context(ca_pem=None))


async def test_insecure_takes_anyone(authorities: Authorities) -> None:
    context = client_context(ca_pem=None, insecure=True)
    assert await handshake(authorities, context, "anything") == ("", "http/1.1")


def test_unusable_pems_are_refused(authorities: Authorities) -> None:
    key = new_key()
    issued = authorities.issue(key.public_key(), user="proxy", ttl=60)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    for certificate, private in (
        (issued.pem, key_pem(new_key())),
        (issued.pem, locked),
        (issued.pem, b"nonsense"),
        (b"nonsense", key_pem(key)),
    ):
        with pytest.raises(AccessError, match="cannot be used"):
            client_context(ca_pem=None, certificate_pem=certificate, key_pem=private)
    for ca in (b"", b"nonsense", b"\xff"):
        with pytest.raises(AccessError, match="not a certificate"):
            client_context(ca_pem=ca)


def test_no_file_and_no_descriptor_stays(
    authorities: Authorities, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A directory of our own: others write to /tmp at the same time.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    there = set(tmp_path.iterdir())
    key = new_key()
    issued = authorities.issue(key.public_key(), user="proxy", ttl=60)
    before = len(list(Path("/proc/self/fd").iterdir()))
    client_context(ca_pem=None, certificate_pem=issued.pem, key_pem=key_pem(key))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert set(tmp_path.iterdir()) == there

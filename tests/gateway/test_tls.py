"""The listeners' TLS: what is accepted, and what a change of the files does."""

import ssl
from pathlib import Path
from typing import Literal

import pytest

from proxy.clock import SystemClock
from proxy.errors import SettingsError
from proxy.gateway.tls import ServerFiles, ServerTLS, server_context
from proxy.pki.authorities import Authorities
from proxy.pki.keys import key_pem, new_key
from proxy.pki.server import server_certificate


@pytest.fixture
def authorities(tmp_path: Path) -> Authorities:
    return Authorities.open(tmp_path / "pki", clock=SystemClock())


@pytest.fixture
def files(authorities: Authorities) -> ServerFiles:
    made = server_certificate(authorities, ["localhost"], clock=SystemClock())
    return files_of(authorities, made.certificate, made.key)


def files_of(authorities: Authorities, cert: Path, key: Path) -> ServerFiles:
    directory = authorities.directory
    return ServerFiles(
        cert=cert,
        key=key,
        trust=lambda: Authorities.open(directory, clock=SystemClock()).bundle_pem(),
        trust_files=lambda: directory.glob("ca*.crt"),
    )


def shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost"
) -> ssl.SSLObject:
    """A handshake in memory, and the server's end of it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    waiting = list(ends)
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    assert not waiting
    return ends[1]


def client_context(authorities: Authorities, tmp_path: Path | None = None) -> ssl.SSLContext:
    """A client that trusts the authority; with a directory, one that has a certificate of it."""
    context = ssl.create_default_context(cadata=authorities.bundle_pem().decode())
    if tmp_path is not None:
        key = new_key()
        issued = authorities.issue(key.public_key(), user="alice", ttl=60)
        path = tmp_path / "client.pem"
        path.write_bytes(issued.pem + key_pem(key))
        context.load_cert_chain(path)
    return context


def test_a_client_with_a_certificate_is_verified(
    files: ServerFiles, authorities: Authorities, tmp_path: Path
) -> None:
    end = shake_hands(server_context(files), client_context(authorities, tmp_path))
    certificate = end.getpeercert()
    assert certificate is not None
    assert ((("commonName", "alice"),)) in certificate["subject"]


def test_a_client_without_a_certificate_gets_in_to_be_told_so(
    files: ServerFiles, authorities: Authorities
) -> None:
    end = shake_hands(server_context(files), client_context(authorities))
    assert end.getpeercert(binary_form=True) is None


def test_a_certificate_of_somebody_else_does_not_get_in(
    files: ServerFiles, authorities: Authorities, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authorities.open(tmp_path / "other" / "pki", clock=SystemClock())
    client = client_context(other, tmp_path / "other")
    client.load_verify_locations(cadata=authorities.bundle_pem().decode())
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server_context(files), client)


def test_only_http_1_1_is_negotiated(files: ServerFiles, authorities: Authorities) -> None:
    client = client_context(authorities)
    client.set_alpn_protocols(["h2", "http/1.1"])
    assert shake_hands(server_context(files), client).selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(
    ("least", "offered", "agreed"),
    [
        ("1.2", ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        ("1.2", ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
        ("1.3", ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
        ("1.3", ssl.TLSVersion.TLSv1_2, None),
    ],
)
def test_versions(
    files: ServerFiles,
    authorities: Authorities,
    least: Literal["1.2", "1.3"],
    offered: ssl.TLSVersion,
    agreed: str | None,
) -> None:
    client = client_context(authorities)
    client.minimum_version = client.maximum_version = offered
    context = server_context(
        ServerFiles(files.cert, files.key, files.trust, files.trust_files, least)
    )
    if agreed is None:
        with pytest.raises(ssl.SSLError):
            shake_hands(context, client)
    else:
        assert shake_hands(context, client).version() == agreed


def test_nothing_happens_while_the_files_stay(files: ServerFiles) -> None:
    tls = ServerTLS(files)
    before = tls.context()
    assert not tls.refresh()
    assert tls.context() is before


def test_a_new_certificate_takes_effect(files: ServerFiles, authorities: Authorities) -> None:
    tls = ServerTLS(files)
    first = shake_hands(tls.context(), client_context(authorities))
    assert first is not None
    server_certificate(authorities, ["localhost", "other.example"], clock=SystemClock())
    assert tls.refresh()
    shake_hands(tls.context(), client_context(authorities), name="other.example")


def test_a_rotated_authority_is_trusted_beside_the_old_one(
    files: ServerFiles, authorities: Authorities, tmp_path: Path
) -> None:
    tls = ServerTLS(files)
    old = client_context(authorities, tmp_path)
    rotated = authorities.rotate()
    (tmp_path / "new").mkdir()
    new = client_context(rotated, tmp_path / "new")
    with pytest.raises(ssl.SSLError):
        shake_hands(tls.context(), new)
    assert tls.refresh()
    for client in (old, new):
        assert shake_hands(tls.context(), client).getpeercert() is not None


@pytest.mark.parametrize("broken", ["cert", "key"])
@pytest.mark.parametrize("how", ["garbage", "missing"])
def test_broken_files_keep_what_works(
    files: ServerFiles, authorities: Authorities, broken: str, how: str
) -> None:
    tls = ServerTLS(files)
    path: Path = getattr(files, broken)
    good = path.read_bytes()
    if how == "garbage":
        path.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
    else:
        path.unlink()
    assert not tls.refresh()
    shake_hands(tls.context(), client_context(authorities))
    path.write_bytes(good)
    assert tls.refresh(), "repaired files are used again"


def test_a_key_of_another_certificate_keeps_what_works(
    files: ServerFiles, authorities: Authorities
) -> None:
    tls = ServerTLS(files)
    files.key.write_bytes(key_pem(new_key()))
    assert not tls.refresh()
    shake_hands(tls.context(), client_context(authorities))


@pytest.mark.parametrize("broken", ["cert", "key"])
def test_broken_files_stop_a_start_and_are_named(files: ServerFiles, broken: str) -> None:
    path: Path = getattr(files, broken)
    path.write_text("nonsense")
    with pytest.raises(SettingsError, match=r"server certificate .*server\.crt with key"):
        ServerTLS(files)


def test_an_empty_trust_stops_a_start(files: ServerFiles) -> None:
    empty = ServerFiles(files.cert, files.key, lambda: b"", files.trust_files)
    with pytest.raises(SettingsError, match="certificate authorities"):
        ServerTLS(empty)

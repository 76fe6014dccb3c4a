import ssl
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.errors import InvalidInputError
from proxy.pki.authority import Authority, Issued, alternative_name, new_authority, pem
from proxy.pki.keys import csr, new_key, requested_key

NOW = 1_800_000_000.5
DAY = 86_400.0


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority(new_key(), NOW)


def issue(
    authority: Authority,
    user: str = "alice",
    groups: tuple[str, ...] = ("dev",),
    ttl: float = 3600.0,
) -> Issued:
    return authority.issue(
        csr(new_key(), "ignored"), user=user, groups=groups, ttl=ttl, max_ttl=DAY, now=NOW
    )


def test_what_is_issued_is_what_kubernetes_reads(authority: Authority) -> None:
    issued = issue(authority, "alice@example.com", ("dev", "ops", "dev"))
    certificate = x509.load_pem_x509_certificate(issued.pem)
    subject = [(item.oid, item.value) for item in certificate.subject]
    assert subject == [
        (NameOID.COMMON_NAME, "alice@example.com"),
        (NameOID.ORGANIZATION_NAME, "dev"),
        (NameOID.ORGANIZATION_NAME, "ops"),
    ]
    assert issued.groups == ("dev", "ops")
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    certificate.verify_directly_issued_by(authority.certificate)


def test_times_are_whole_and_backdated_a_minute(authority: Authority) -> None:
    issued = issue(authority, ttl=3600.0)
    assert (issued.not_before, issued.not_after) == (1_799_999_940.0, 1_800_003_600.0)


def test_serials_are_random_and_written_like_events_write_them(authority: Authority) -> None:
    issued = [issue(authority) for _ in range(20)]
    serials = {item.serial for item in issued}
    assert len(serials) == 20
    assert all(int(serial, 16).bit_length() <= 127 for serial in serials)
    assert all(serial == serial.lower().lstrip("0") for serial in serials)


@pytest.mark.parametrize(
    "user",
    ["", "system:admin", "kubewitness:admin", " alice", "alice ", "al\nice", "a" * 65, "al\x00ice"],
)
def test_refuses_users(authority: Authority, user: str) -> None:
    with pytest.raises(InvalidInputError):
        issue(authority, user=user)


@pytest.mark.parametrize(
    "group",
    ["", "system:masters", "kubewitness:admin", "system:authenticated", " dev", "dev\t", "d\rev"],
)
def test_refuses_groups(authority: Authority, group: str) -> None:
    with pytest.raises(InvalidInputError):
        issue(authority, groups=("ok", group))


@pytest.mark.parametrize(
    ("ttl", "message"), [(0.0, "at least one second"), (DAY + 1, "longer than the 1d allowed")]
)
def test_refuses_lifetimes(authority: Authority, ttl: float, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        issue(authority, ttl=ttl)


def test_refuses_to_outlive_the_authority() -> None:
    with pytest.raises(InvalidInputError, match="outlive"):
        new_authority(new_key(), NOW).issue(
            new_key().public_key(), user="a", ttl=11 * 365 * DAY, max_ttl=12 * 365 * DAY, now=NOW
        )


def tampered(request: bytes) -> bytes:
    lines = request.splitlines()
    lines[1] = lines[1][:40] + (b"A" if lines[1][40:41] != b"A" else b"B") + lines[1][41:]
    return b"\n".join(lines)


@pytest.mark.parametrize(
    "request_of",
    [
        lambda: b"",
        lambda: b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        lambda: tampered(csr(new_key(), "alice")),
        lambda: csr(rsa.generate_private_key(65537, 1024), "alice"),
        lambda: csr(ec.generate_private_key(ec.SECP256K1()), "alice"),
        lambda: csr(new_key(), "alice") + b" " * 70_000,
    ],
    ids=["empty", "garbage", "tampered", "short-rsa", "odd-curve", "huge"],
)
def test_refuses_requests(request_of: Callable[[], bytes]) -> None:
    with pytest.raises(InvalidInputError):
        requested_key(request_of())


def test_a_long_user_name_fits_in_a_request() -> None:
    key = new_key()
    assert requested_key(csr(key, "a" * 300)) == key.public_key()


def test_server_names(authority: Authority) -> None:
    pem = authority.issue_server(
        new_key().public_key(), ("Proxy.example.com", "*.k.example.com", "10.0.0.1", "::1"), now=NOW
    )
    certificate = x509.load_pem_x509_certificate(pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["proxy.example.com", "*.k.example.com"]
    assert [str(item) for item in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1", "::1"]
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life == timedelta(days=90, seconds=60)


@pytest.mark.parametrize(
    "name", ["", "a b", "https://x", "exämple.com", "a..b", "x" * 64, "10.0.0.0/8"]
)
def test_refuses_server_names(name: str) -> None:
    with pytest.raises(InvalidInputError, match="not a DNS name"):
        alternative_name(name)


def test_no_server_name_is_refused(authority: Authority) -> None:
    with pytest.raises(InvalidInputError, match="at least one"):
        authority.issue_server(new_key().public_key(), (), now=NOW)


def test_openssl_trusts_the_authority(authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem(authority.certificate).decode())
    assert context.cert_store_stats() == {"x509": 1, "crl": 0, "x509_ca": 1}

import datetime as dt
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from proxy.authn.certificate import BadCertificateError, identify
from proxy.pki.authority import new_authority
from proxy.pki.keys import new_key

NOW = 1_800_000_000.0
CN, ORG, UNIT = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME
KUBERNETES_UID = ObjectIdentifier("1.3.6.1.4.1.57683.2")
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
KEY = new_key()


def certificate(
    *subject: tuple[ObjectIdentifier, str], usages: tuple[ObjectIdentifier, ...] | None = (CLIENT,)
) -> bytes:
    """A self-signed one of any shape, also shapes our authority never issues."""
    name = x509.Name([x509.NameAttribute(oid, value, _validate=False) for oid, value in subject])
    start = dt.datetime.fromtimestamp(NOW, dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(0x0ABC)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(hours=1))
    )
    if usages is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def test_reads_what_our_authority_issues() -> None:
    issued = new_authority(new_key(), NOW).issue(
        new_key().public_key(),
        user="älice@example.com",
        groups=("dev", "ops"),
        ttl=60,
        max_ttl=60,
        now=NOW,
    )
    identity = identify(x509.load_pem_x509_certificate(issued.pem).public_bytes(Encoding.DER))
    for field in ("user", "groups", "serial", "fingerprint", "not_before", "not_after"):
        assert getattr(identity, field) == getattr(issued, field)


def test_numbers_are_written_as_in_the_state() -> None:
    der = certificate((CN, "alice"))
    identity = identify(der)
    assert identity.serial == "abc"
    assert identity.fingerprint == hashlib.sha256(der).hexdigest()
    assert (identity.not_before, identity.not_after) == (NOW, NOW + 3600)
    assert identity.groups == ()


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ([], "names 0 users"),
        ([(ORG, "dev")], "names 0 users"),
        ([(CN, "alice"), (CN, "bob")], "names 2 users"),
        ([(CN, "alice"), (UNIT, "x")], r"attribute 2\.5\.4\.11"),
        ([(CN, "alice"), (KUBERNETES_UID, "7")], r"attribute 1\.3\.6\.1\.4\.1\.57683\.2"),
        ([(CN, "system:admin")], "refused"),
        ([(CN, "alice"), (ORG, "system:masters")], "refused"),
        ([(CN, "alice"), (ORG, "kubewitness:admin")], "refused"),
        ([(CN, "kubewitness:admin")], "refused"),
        ([(CN, "alice "), (ORG, "dev")], "refused"),
        ([(CN, "alice"), (ORG, "a\nb")], "refused"),
        ([(CN, "ali\x00ce")], "refused"),
    ],
)
def test_refuses_odd_subjects(subject: list[tuple[ObjectIdentifier, str]], message: str) -> None:
    with pytest.raises(BadCertificateError, match=message):
        identify(certificate(*subject))


@pytest.mark.parametrize("usages", [(SERVER,), None])
def test_refuses_other_purposes(usages: tuple[ObjectIdentifier, ...] | None) -> None:
    with pytest.raises(BadCertificateError, match="clientAuth"):
        identify(certificate((CN, "alice"), usages=usages))


def test_accepts_several_purposes() -> None:
    assert identify(certificate((CN, "alice"), usages=(SERVER, CLIENT))).user == "alice"


def test_refuses_a_serial_number_that_is_not_positive() -> None:
    der = certificate((CN, "alice")).replace(b"\x02\x02\x0a\xbc", b"\x02\x02\xf5\xbc", 1)
    with (
        pytest.warns(CryptographyDeprecationWarning, match="wasn't positive"),
        pytest.raises(BadCertificateError, match="serial number"),
    ):
        identify(der)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize("position", range(0, 300, 7))
def test_damaged_bytes_are_refused_or_read_never_worse(position: int) -> None:
    der = bytearray(certificate((CN, "alice"), (ORG, "dev")))
    der[position % len(der)] ^= 0xFF
    try:
        identity = identify(bytes(der))
    except BadCertificateError:
        return
    assert identity.fingerprint == hashlib.sha256(der).hexdigest()


@pytest.mark.parametrize("der", [b"", b"\x30", b"nonsense", b"\x30\x84\xff\xff\xff\xff"])
def test_garbage_is_refused(der: bytes) -> None:
    with pytest.raises(BadCertificateError, match="cannot be read"):
        identify(der)

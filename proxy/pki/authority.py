"""One certificate authority: a certificate, its key, and what it signs.

Subjects follow Kubernetes' client-certificate rules: CN is the user, each O is a group
(kubernetes.io, "Authenticating": X509 client certificates).
"""

import ipaddress
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.errors import InvalidInputError
from proxy.kube.impersonation import check_name
from proxy.pki.keys import (
    PrivateKey,
    PublicKey,
    checked,
    fingerprint,
    requested_key,
    serial_text,
    signature_hash,
)
from proxy.pki.ttl import format_ttl

AUTHORITY_LIFE: Final = 10 * 365 * 86_400
"""Seconds our own authority certificate lives; rotate before."""
SERVER_LIFE: Final = 90 * 86_400
"""Seconds a server certificate of ours lives."""
BACKDATE: Final = 60
"""Seconds `not_before` lies in the past, for clients whose clock is a little behind."""
_MOST_GROUPS: Final = 200


@dataclass(frozen=True, slots=True)
class Issued:
    """A client certificate just made, with what must be recorded of it."""

    pem: bytes
    """The certificate and the intermediates a server needs to verify it."""
    serial: str
    fingerprint: str
    user: str
    groups: tuple[str, ...]
    """In the order of the subject, without repetitions."""
    not_before: float
    not_after: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate that may sign, with its key, and the intermediates above it."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's own certificate."""
        return fingerprint(self.certificate)

    def issue(
        self,
        key: bytes | PublicKey,
        *,
        user: str,
        groups: Iterable[str] = (),
        ttl: float,
        max_ttl: float,
        now: float,
    ) -> Issued:
        """A client certificate for `user` in `groups` that lives `ttl` seconds from `now`.

        `key` is a signing request (PEM; only its key is used) or a public key. Raises
        InvalidInputError for reserved or malformed names, a lifetime above `max_ttl` or beyond
        the authority's own, and an unacceptable request.
        """
        public = requested_key(key) if isinstance(key, bytes) else checked(key)
        groups = tuple(dict.fromkeys(groups))
        _check_subject(user, groups)
        _check_ttl(ttl, max_ttl)
        end = _second(now + ttl)
        if end > self.certificate.not_valid_after_utc:
            raise InvalidInputError(
                f"The certificate would outlive its authority, which ends {self.certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC.",
                hint="Ask for a shorter lifetime or rotate the authority.",
            )
        subject = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, user)]
            + [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        )
        certificate = self._sign(
            _leaf(subject, public, _second(now) - timedelta(seconds=BACKDATE), end),
            ExtendedKeyUsageOID.CLIENT_AUTH,
        )
        return Issued(
            pem=self._with_chain(certificate),
            serial=serial_text(certificate),
            fingerprint=fingerprint(certificate),
            user=user,
            groups=groups,
            not_before=certificate.not_valid_before_utc.timestamp(),
            not_after=certificate.not_valid_after_utc.timestamp(),
        )

    def issue_server(self, key: PublicKey, names: Iterable[str], *, now: float) -> bytes:
        """A server certificate (PEM, with intermediates) for DNS names and addresses `names`.

        It ends with the authority when that is sooner than 90 days. Raises InvalidInputError for
        a name that is neither a DNS name nor an address.
        """
        alternatives = [alternative_name(name) for name in names]
        if not alternatives:
            raise InvalidInputError("A server certificate needs at least one name.")
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubewitness server")])
        start = _second(now) - timedelta(seconds=BACKDATE)
        end = min(_second(now + SERVER_LIFE), self.certificate.not_valid_after_utc)
        builder = _leaf(subject, key, start, end).add_extension(
            x509.SubjectAlternativeName(alternatives), critical=False
        )
        return self._with_chain(self._sign(builder, ExtendedKeyUsageOID.SERVER_AUTH))

    def _sign(
        self, builder: x509.CertificateBuilder, usage: x509.ObjectIdentifier
    ) -> x509.Certificate:
        issuer = self.certificate.public_key()
        return (
            builder.issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(checked(issuer)),
                critical=False,
            )
            .sign(self.key, signature_hash(self.key))
        )

    def _with_chain(self, certificate: x509.Certificate) -> bytes:
        return pem(certificate, *self.chain)


def new_authority(key: PrivateKey, now: float) -> Authority:
    """A self-signed authority over `key`, from `now` for ten years.

    Its name is unique, so that verifiers holding several authorities find the right one.
    """
    name = x509.Name(
        [
            x509.NameAttribute(
                NameOID.COMMON_NAME, f"kubewitness authority {secrets.token_hex(4)}"
            ),
        ]
    )
    public = checked(key.public_key())
    start = _second(now) - timedelta(seconds=BACKDATE)
    builder = (
        _leaf(name, public, start, _second(now + AUTHORITY_LIFE))
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
    )
    return Authority(builder.sign(key, signature_hash(key)), key)


def alternative_name(name: str) -> x509.GeneralName:
    """A host name or address as a subject alternative name; raises InvalidInputError."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    labels = name.removeprefix("*.").removesuffix(".").split(".")
    plain = all(label.replace("-", "").isalnum() and len(label) <= 63 for label in labels)
    if not name.isascii() or not plain or len(name) > 253:
        raise InvalidInputError(
            f"{name!r} is not a DNS name or an address.",
            hint="Fix tls.names; international names are written in their xn-- form.",
        )
    return x509.DNSName(name.lower())


def pem(*certificates: x509.Certificate) -> bytes:
    """Certificates as PEM, one after the other."""
    return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in certificates)


def _leaf(
    subject: x509.Name, key: PublicKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        # 127 random bits: positive in DER, and past any birthday collision (CA/B asks for 64).
        .serial_number(secrets.randbits(127) | 1)
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _check_subject(user: str, groups: tuple[str, ...]) -> None:
    try:
        check_name("user", user)
        for group in groups:
            check_name("group", group)
    except ValueError as error:
        raise InvalidInputError(str(error)) from error
    if len(groups) > _MOST_GROUPS:
        raise InvalidInputError(f"More than {_MOST_GROUPS} groups do not fit in a certificate.")


def _check_ttl(ttl: float, max_ttl: float) -> None:
    if ttl < 1:
        raise InvalidInputError("A certificate lives at least one second.")
    if ttl > max_ttl:
        raise InvalidInputError(
            f"A lifetime of {format_ttl(ttl)} is longer than the {format_ttl(max_ttl)} allowed.",
            hint="Ask for less, or raise credentials.max_ttl.",
        )


def _second(seconds: float) -> datetime:
    # X.509 times have no fractions; the cut-off fraction shortens a life, never lengthens it.
    return datetime.fromtimestamp(int(seconds), UTC)

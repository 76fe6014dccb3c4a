"""Reading a verified client certificate: user from CN, groups from O, as Kubernetes does.

TLS has checked the chain, the times and the purpose. What is checked here is that the subject has
the one shape we issue, so that nothing in it can mean something else further on.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.errors import DeniedError
from proxy.kube.impersonation import check_name

_SUBJECT: Final = frozenset({NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME})


class BadCertificateError(DeniedError):
    """A client certificate that is not of the shape we issue. The message says in what."""


@dataclass(frozen=True, slots=True)
class CertificateIdentity:
    """What a client certificate says."""

    user: str
    groups: tuple[str, ...]
    serial: str
    """Lower-case hex without leading zeros."""
    fingerprint: str
    """SHA-256 of the DER, lower-case hex."""
    not_before: float
    not_after: float
    """Seconds since the epoch."""


def identify(der: bytes) -> CertificateIdentity:
    """The identity in a client certificate. Raises BadCertificateError.

    Takes about 20 µs, so it is done once per connection.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        user, groups = _subject(certificate.subject)
        _check_purpose(certificate)
        if certificate.serial_number <= 0:
            raise BadCertificateError("The certificate's serial number is not positive.")
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # Hostile DER: the library's words are about encodings and help nobody.
        raise BadCertificateError("The client certificate cannot be read.") from error
    return CertificateIdentity(
        user=user,
        groups=groups,
        serial=f"{certificate.serial_number:x}",
        fingerprint=hashlib.sha256(der).hexdigest(),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )


def _subject(subject: x509.Name) -> tuple[str, tuple[str, ...]]:
    users: list[str] = []
    groups: list[str] = []
    for attribute in subject:
        if attribute.oid not in _SUBJECT:
            raise BadCertificateError(
                f"The certificate's subject has an attribute {attribute.oid.dotted_string}; only CN and O are understood."
            )
        if not isinstance(attribute.value, str):
            raise BadCertificateError("The certificate's subject holds something that is not text.")
        (users if attribute.oid == NameOID.COMMON_NAME else groups).append(attribute.value)
    if len(users) != 1:
        raise BadCertificateError(
            f"The certificate names {len(users)} users (CN) and must name one."
        )
    try:
        check_name("user", users[0])
        for group in groups:
            check_name("group", group)
    except ValueError as error:
        raise BadCertificateError(f"The certificate's subject is refused: {error}") from error
    return users[0], tuple(groups)


def _check_purpose(certificate: x509.Certificate) -> None:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usages = x509.ExtendedKeyUsage([])
    except x509.DuplicateExtension as error:
        raise BadCertificateError("The certificate has an extension twice.") from error
    # Kubernetes accepts certificates without this extension; all of ours have it.
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise BadCertificateError("The certificate is not meant for clients (no clientAuth usage).")

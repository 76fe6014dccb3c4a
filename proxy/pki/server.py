"""The listener's own certificate: issued by us, renewed before it ends, kept in two files.

`<data-dir>/pki/server.crt` and `server.key`; whoever serves with them reloads when they change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from proxy.clock import Clock
from proxy.errors import SettingsError
from proxy.files import replace_private
from proxy.pki.authorities import Authorities, read_certificates, read_key
from proxy.pki.authority import Authority, alternative_name
from proxy.pki.keys import key_pem, new_key


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """Where the listener's certificate is, and until when it is good."""

    certificate: Path
    key: Path
    not_after: float
    """Seconds since the epoch."""
    reissued: bool
    """Whether it was made just now."""


def server_certificate(
    authorities: Authorities, names: Sequence[str], *, clock: Clock
) -> ServerCertificate:
    """The server certificate for `names`, made anew when the present one will not do.

    That is: missing, unreadable, for other names, by another authority than
    `Authorities.serving()`, or with less than a third of its life left. Call it at start and
    daily. Raises InvalidInputError for a name that cannot be in a certificate.
    """
    certificate = authorities.directory / "server.crt"
    key = authorities.directory / "server.key"
    signer = authorities.serving()
    present = _usable(certificate, key, signer, names, clock.now())
    if present is None:
        private = new_key()
        pem = signer.issue_server(private.public_key(), names, now=clock.now())
        # In between a reader sees a new key with an old certificate; it must try again then.
        replace_private(key, key_pem(private))
        replace_private(certificate, pem)
    found = present or read_certificates(certificate)[0]
    return ServerCertificate(
        certificate, key, found.not_valid_after_utc.timestamp(), present is None
    )


def _usable(
    path: Path, key: Path, signer: Authority, names: Sequence[str], now: float
) -> x509.Certificate | None:
    try:
        found = read_certificates(path)[0]
        private = read_key(key)
    except SettingsError:
        return None  # missing or damaged; both are ours to write
    start, end = found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()
    good = (
        end - now >= (end - start) / 3
        and found.public_key() == private.public_key()
        and _names(found) == {alternative_name(name) for name in names}
        and _issued_by(found, signer)
    )
    return found if good else None


def _names(certificate: x509.Certificate) -> set[x509.GeneralName]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return set(extension.value)


def _issued_by(certificate: x509.Certificate, signer: Authority) -> bool:
    if certificate.issuer != signer.certificate.subject:
        return False
    identifier = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    expected = x509.AuthorityKeyIdentifier.from_issuer_public_key(
        signer.certificate.public_key()  # type: ignore[arg-type]  # an authority's key was checked
    )
    return identifier.value.key_identifier == expected.key_identifier

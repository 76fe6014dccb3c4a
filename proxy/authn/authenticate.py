"""From a certificate and the state to an authenticated caller, once per call.

Possession of a certificate our authority signed is not enough: it must be one that was recorded
when it was issued, unchanged, alive, and for this purpose. Deny is the default.
"""

from dataclasses import dataclass
from enum import StrEnum

from proxy.authn.certificate import CertificateIdentity
from proxy.errors import DeniedError
from proxy.state.snapshot import Credential, Snapshot, Usage


class Reason(StrEnum):
    """Why a caller was not authenticated; stable, for records and metrics."""

    NO_CERTIFICATE = "no-certificate"
    BAD_CERTIFICATE = "bad-certificate"
    """`identify` refused it."""
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    UNKNOWN = "unknown-credential"
    ALTERED = "altered-credential"
    """Serial known, certificate or subject different from the one recorded."""
    REVOKED = "revoked"
    WRONG_USAGE = "wrong-usage"
    DISABLED = "disabled"
    """The user was disabled, or removed, which is the same."""


class Unauthenticated(DeniedError):  # noqa: N818  # reads as what it is, where it is caught
    """The caller is not authenticated: a 401, recorded with `reason`."""

    def __init__(self, reason: Reason, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A caller we know. Made by `authenticate` and by nothing else."""

    user: str
    groups: tuple[str, ...]
    """Those that count: of a registered user the registry's, of others the certificate's."""
    serial: str
    credential: Credential


def authenticate(
    certificate: CertificateIdentity | None, snapshot: Snapshot, now: float, usage: Usage
) -> Authenticated:
    """Who is calling at wall time `now` (seconds), for a listener that accepts `usage`.

    Raises Unauthenticated. Nothing here is remembered: the next call is judged by its own
    snapshot, so a revocation counts from the next call on.
    """
    if certificate is None:
        raise Unauthenticated(
            Reason.NO_CERTIFICATE,
            "No client certificate was presented.",
            hint="Use a kubeconfig made by `kubewitness kubeconfig issue`.",
        )
    if now >= certificate.not_after:
        raise _expired()
    credential = snapshot.credentials.get(certificate.serial)
    if credential is None:
        raise Unauthenticated(
            Reason.UNKNOWN, f"The certificate {certificate.serial} is not one that was issued here."
        )
    if (
        credential.fingerprint != certificate.fingerprint
        or credential.user != certificate.user
        or credential.groups != certificate.groups
    ):
        raise Unauthenticated(
            Reason.ALTERED,
            f"The certificate {certificate.serial} differs from the one issued under this number.",
        )
    if credential.revoked_at is not None:
        raise Unauthenticated(
            Reason.REVOKED,
            f"The credential {certificate.serial} of {certificate.user} was revoked.",
        )
    if now >= credential.not_after:
        raise _expired()
    if now < certificate.not_before:
        raise Unauthenticated(Reason.NOT_YET_VALID, "The client certificate is not valid yet.")
    if credential.usage is not usage:
        raise Unauthenticated(
            Reason.WRONG_USAGE,
            f"The credential {certificate.serial} is for {credential.usage}, not for {usage}.",
        )
    known = snapshot.access.users.get(certificate.user)
    if known is not None and known.disabled_at is not None:
        raise Unauthenticated(
            Reason.DISABLED,
            f"The user {certificate.user} is disabled.",
            hint="An administrator can enable them again: `kubewitness user enable`.",
        )
    groups = certificate.groups if known is None else known.groups
    return Authenticated(certificate.user, groups, certificate.serial, credential)


def _expired() -> Unauthenticated:
    return Unauthenticated(
        Reason.EXPIRED,
        "The client certificate has expired.",
        hint="Get a new one with `kubewitness kubeconfig issue`.",
    )

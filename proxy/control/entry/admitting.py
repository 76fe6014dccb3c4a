"""Who sends a request: by the client certificate of the connection, an API token, or both.

A token (`Authorization: Bearer kwt_ID_SECRET`) counts on the control plane only. What is stored of
it is the SHA-256 of its secret, so a copy of the database lets nobody in. With both, both must be
good and of one user.
"""

import hashlib
import hmac
import re
from contextlib import suppress
from dataclasses import replace
from typing import Final

from aiohttp import web

from proxy.authn.authenticate import Reason, Unauthenticated, authenticate
from proxy.authn.certificate import CertificateIdentity, identify
from proxy.authz.standing import Caller, caller_of
from proxy.control.entry.caller import Known
from proxy.control.entry.problems import UnauthenticatedError
from proxy.errors import DeniedError
from proxy.state.snapshot import Credential, Snapshot, Usage
from proxy.state.tokens import Token

LOCAL_ADMIN: Final = "admin"
"""The machine's own administrator: whoever can read the data directory."""
LOCAL_ISSUER: Final = "kubewitness"
"""`issued_by` of their credential. What this API issues names a user and a serial there, so that
nothing it makes can pass for it."""
PREFIX: Final = "kwt_"
_TOKEN: Final = re.compile(r"kwt_([0-9a-f-]{32,36})_([0-9A-Za-z_-]{43})", re.ASCII)
_NOBODYS: Final = hashlib.sha256(b"").hexdigest()
_UNKNOWN: Final = "The API token is not one that counts: it is unknown, revoked, or has expired."


class BadTokenError(UnauthenticatedError):
    """An API token that does not count. The message does not say which of its parts is wrong."""


def claimed(request: web.Request) -> tuple[str, str]:
    """Who a request says it is from, for the record of its refusal: a user, and a token's id.

    Nothing is checked but the certificate's shape, and nothing secret is returned.
    """
    found = _TOKEN.fullmatch(_bearer(request) or "")
    try:
        certificate = _certificate(request)
    except DeniedError:
        certificate = None
    return "" if certificate is None else certificate.user, "" if found is None else found[1]


def presented(request: web.Request, snapshot: Snapshot, now: float) -> tuple[str, str]:
    """Whose, and which, credential a refused request proved to have, as sightings name it.

    Empty where it proved none: a token that does not count is nobody's.
    """
    with suppress(DeniedError):
        bearer = _bearer(request)
        if bearer is not None:
            token = _token(bearer, snapshot, now)
            return token.user, f"token {token.id}"
    with suppress(DeniedError):
        certificate = _certificate(request)
        if certificate is not None:
            return certificate.user, certificate.serial
    return "", ""


def admit(request: web.Request, snapshot: Snapshot, now: float, usage: Usage) -> Known:
    """The caller of a request at wall time `now`, for a route that takes credentials for `usage`.

    Raises DeniedError: UnauthenticatedError and its like where we do not know them.
    """
    certificate, bearer = _certificate(request), _bearer(request)
    known = None
    if certificate is not None:
        known = _by_certificate(certificate, snapshot, now, usage)
    if bearer is not None:
        known = _by_token(known, _token(bearer, snapshot, now), snapshot, now, usage)
    if known is None:
        raise UnauthenticatedError(
            "The connection has no client certificate, and the request no API token.",
            hint="Use the `kubewitness` command with an admin credential, or "
            "`Authorization: Bearer` with a token of `kubewitness token add`.",
        )
    if not known.stands(snapshot, now):
        raise UnauthenticatedError(
            f"{known.user} is disabled.", hint=f"`kubewitness user enable {known.user}` ends that."
        )
    return known


def is_local_admin(credential: Credential) -> bool:
    """Whether this is the credential that `serve` keeps in its data directory."""
    return (credential.user, credential.issued_by) == (LOCAL_ADMIN, LOCAL_ISSUER)


def secret_hash(secret: str) -> str:
    """What is stored of a token's secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _by_certificate(
    certificate: CertificateIdentity, snapshot: Snapshot, now: float, usage: Usage
) -> Known:
    try:
        found = authenticate(certificate, snapshot, now, usage)
    except Unauthenticated as error:
        if error.reason is Reason.WRONG_USAGE:
            # We know who it is; it is just not for this: 403, not 401.
            raise DeniedError(
                error.message, hint=f"This route takes a credential for `{usage}`."
            ) from error
        raise
    if is_local_admin(found.credential):
        return Known(Caller(found.user, (), local_admin=True), found.credential)
    caller = caller_of(snapshot.access, found.user, found.groups)
    return Known(caller, found.credential)


def _by_token(
    known: Known | None, token: Token, snapshot: Snapshot, now: float, usage: Usage
) -> Known:
    if known is not None and known.user != token.user:
        raise BadTokenError(
            f"The API token is not of {known.user}, whose certificate the connection shows.",
            hint="Send one of the two, or both of the same user.",
        )
    if usage is not Usage.ADMIN:
        raise DeniedError(
            "An API token cannot do this.", hint=f"This route takes a credential for `{usage}`."
        )
    if known is not None:
        return replace(known, token=token)
    return Known(caller_of(snapshot.access, token.user, ()), token=token)


def _token(bearer: str, snapshot: Snapshot, now: float) -> Token:
    found = _TOKEN.fullmatch(bearer)
    token = snapshot.tokens.get(found[1]) if found is not None else None
    secret = found[2] if found is not None else ""
    expected = token.secret_sha256 if token is not None else _NOBODYS
    # Compared also when there is nothing to compare with: the time tells nothing about the id.
    good = hmac.compare_digest(secret_hash(secret), expected)
    if token is None or not good or token.revoked_at is not None or now >= token.not_after:
        raise BadTokenError(_UNKNOWN, hint="`kubewitness token add` makes a new one.")
    return token


def _certificate(request: web.Request) -> CertificateIdentity | None:
    transport = request.transport
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    return identify(der) if der else None


def _bearer(request: web.Request) -> str | None:
    """What an `Authorization` header holds; None without one. Other schemes are refused."""
    given = request.headers.getall("Authorization", [])
    if not given:
        return None
    scheme, _, value = given[0].partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer":
        raise BadTokenError("The Authorization header must be one `Bearer` and a token.")
    return value.strip()

"""Routes about the authority that signs credentials: look at it, and rotate it."""

import asyncio

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from proxy.clock import rfc3339
from proxy.control.entry.route import Act, Route
from proxy.control.entry.services import Services
from proxy.errors import UnavailableError
from proxy.pki.authorities import Authorities
from proxy.pki.authority import pem
from proxy.pki.keys import fingerprint, key_pem
from proxy.state.permission import Permission

_LOOK = 0.05
_LOOKS = 100
"""Times, and seconds between them, that we look whether we have taken it over ourselves."""


class Certificate(msgspec.Struct, frozen=True, rename="camel"):
    """A certificate of an authority."""

    fingerprint: str
    """SHA-256 of its DER, lower-case hex."""
    not_before: str
    not_after: str


class Authority(msgspec.Struct, frozen=True, rename="camel"):
    """Which authority signs, and which are still trusted."""

    external: bool
    """Given by `tls.ca_cert_file`, so that it is rotated where it lives."""
    current: Certificate
    trusted: tuple[Certificate, ...]
    """Every one that a client certificate may lead to, the current one first."""


async def look(act: Act) -> Authority:
    """The authorities as they are now."""
    act.require(Permission.LOOK_AT_AUTHORITY)
    return _described(act.services.authorities())


async def rotate(act: Act) -> Authority:
    """Make a new authority. Credentials of the former one stay good until they end.

    The listeners, also those of other replicas, follow within a few seconds; the server's
    certificate is signed by the new one only when every kubeconfig in use knows it.
    """
    act.require(Permission.ROTATE_AUTHORITY)
    services = act.services
    if services.store.shared:
        authorities = await _shared(services)
    else:
        authorities = await asyncio.to_thread(services.authorities().rotate)
    described = _described(authorities)
    act.detail["fingerprint"] = described.current.fingerprint
    return described


async def _shared(services: Services) -> Authorities:
    """Hand a new authority to all replicas, and wait until we have taken it over ourselves."""
    made = await asyncio.to_thread(services.authorities().following)
    name = fingerprint(made.certificate)
    await services.store.authorities.share(name, pem(made.certificate), key_pem(made.key))
    services.watcher.poke()
    for _ in range(_LOOKS):
        if name in map(fingerprint, services.authorities().trusted):
            return services.authorities()
        await asyncio.sleep(_LOOK)
    raise UnavailableError(
        f"The new authority {name} is shared and not in use here yet.",
        hint="Look at `kubewitness authority show` in a moment, and at the log.",
    )


def _described(authorities: Authorities) -> Authority:
    return Authority(
        external=authorities.external,
        current=_certificate(authorities.current.certificate),
        trusted=tuple(_certificate(item) for item in authorities.trusted),
    )


def _certificate(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        not_before=rfc3339(certificate.not_valid_before_utc.timestamp()),
        not_after=rfc3339(certificate.not_valid_after_utc.timestamp()),
    )


ROUTES = (
    Route(
        "GET", "/authority", "getAuthority", "The authority that signs credentials.", look,
        response=Authority,
    ),
    Route(
        "POST", "/authority/rotate", "rotateAuthority",
        "Make a new authority; the present one stays trusted.", rotate,
        action="authority.rotate", response=Authority, status=201,
    ),
)  # fmt: skip

"""The administrator of this machine: a credential that commands find in the data directory.

Whoever can read the directory could use the authority's key anyway, so this gives nothing away.
It is renewed by `serve`, at its start and while it runs, long before it ends. It may do everything,
so there is one, and that it was issued and why, and that the one before it was revoked, is on record
before it can be used.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
import yaml
from cryptography import x509

from proxy.audit.acts import Acts
from proxy.clock import Clock, rfc3339
from proxy.data_dir import PRIVATE_DIR, DataDir
from proxy.errors import KubewitnessError, UnavailableError
from proxy.files import replace_private
from proxy.pki.authorities import Authorities
from proxy.pki.keys import fingerprint, key_pem, new_key, serial_text
from proxy.pki.kubeconfig import base64_text
from proxy.state.repository import StateStore
from proxy.state.snapshot import Credential, Usage

USER: Final = "admin"
ISSUER: Final = "kubewitness"
"""Who issued it: nobody but the proxy itself."""
LIFE: Final = 90 * 86_400.0
"""Seconds; renewed when a third is left."""
WORTH: Final = 3600.0
"""Seconds that a new one must last longer: under an authority that ends soon none does."""
LOOK: Final = 3600.0
"""Seconds between looks at whether it is to be renewed."""
_log = structlog.get_logger(__name__)


async def keep_admin(ensure: Callable[[], Awaitable[object]], *, every: float = LOOK) -> None:
    """Call `ensure` now and then, for a server that is not started again for months. Never returns.

    What goes wrong is logged, and tried again at the next look.
    """
    while True:
        await asyncio.sleep(every)
        try:
            await ensure()
        except (KubewitnessError, OSError) as error:
            _log.warning(
                "the credential of this machine's administrator is not kept", error=str(error)
            )


async def ensure_admin(
    data: DataDir,
    store: StateStore,
    authorities: Authorities,
    acts: Acts,
    *,
    server: str,
    clock: Clock,
) -> Credential | None:
    """Make the context file say how to reach the control plane at `server` (`https://host:port`).

    Returns the credential when a new one had to be issued: there was none, it is about to end, was
    revoked, or is of an authority that is no longer trusted. Then the former one is revoked, and all
    of it is recorded with `acts`. Raises UnavailableError when the file cannot be written, or what
    it needs cannot be recorded.
    """
    there = _read(data)
    found = dict(there)
    former, wrong = await _examined(found, store, authorities, clock.now())
    credential = None
    if wrong:
        _make_directory(data)
        credential, certificate, key = await _issue(store, authorities, acts, wrong, clock)
        await _revoke(store, acts, former, credential)
        found |= {
            "client-certificate-data": base64_text(certificate),
            "client-key-data": base64_text(key),
        }
    wanted = {
        "name": data.path.name,
        "server": server,
        "ca-data": base64_text(authorities.bundle_pem()),
        "client-certificate-data": found["client-certificate-data"],
        "client-key-data": found["client-key-data"],
        "data-dir": str(data.path.absolute()),
    }
    if wanted != there:
        text = yaml.safe_dump(wanted, sort_keys=False, width=1_000_000)
        try:
            replace_private(data.admin_context, text.encode())
        except OSError as error:
            raise _unusable(data, error) from error
    return credential


def _make_directory(data: DataDir) -> None:
    """Before anything is issued that could not be kept."""
    try:
        data.admin.mkdir(mode=PRIVATE_DIR, exist_ok=True)
    except OSError as error:
        raise _unusable(data, error) from error


def _unusable(data: DataDir, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"{data.admin}: {error.strerror or error}.",
        hint="Commands on this machine find their credential there; make it a directory of ours.",
    )


def _read(data: DataDir) -> dict[str, Any]:
    try:
        document = yaml.safe_load(data.admin_context.read_bytes())
    except (OSError, yaml.YAMLError):
        return {}  # missing or damaged; it is ours to write
    return document if isinstance(document, dict) else {}


async def _examined(
    found: dict[str, Any], store: StateStore, authorities: Authorities, now: float
) -> tuple[str, str]:
    """The serial of the credential in the file, and why a new one is needed; both may be empty."""
    try:
        pem = base64.b64decode(found["client-certificate-data"], validate=True)
        certificate = x509.load_pem_x509_certificate(pem)
        found["client-key-data"] = str(found["client-key-data"])
    except (KeyError, TypeError, binascii.Error, ValueError):
        return "", "there is none that can be read"
    serial = serial_text(certificate)
    if _ends_soon(certificate, authorities, now):
        return serial, "the former one is about to end"
    if certificate.issuer not in {item.subject for item in authorities.trusted}:
        return serial, "the authority of the former one is no longer trusted"
    known = await store.credentials(serial=serial)
    if not any(item.fingerprint == fingerprint(certificate) for item in known):
        return serial, "the former one is revoked or not known"
    return serial, ""


def _ends_soon(certificate: x509.Certificate, authorities: Authorities, now: float) -> bool:
    """Whether a third of its life is left, or less, and a new one would last longer."""
    end = certificate.not_valid_after_utc.timestamp()
    life = min(LIFE, end - certificate.not_valid_before_utc.timestamp())
    last = authorities.current.certificate.not_valid_after_utc.timestamp()
    return end - now < life / 3 and (end <= now or min(now + LIFE, last) - end > WORTH)


async def _issue(
    store: StateStore, authorities: Authorities, acts: Acts, why: str, clock: Clock
) -> tuple[Credential, bytes, bytes]:
    key = new_key()
    # Never beyond the authority's own end.
    left = authorities.current.certificate.not_valid_after_utc.timestamp() - clock.now()
    life = min(LIFE, left)
    issued = authorities.issue(key.public_key(), user=USER, ttl=life, max_ttl=life)
    credential = Credential(
        serial=issued.serial,
        user=issued.user,
        groups=issued.groups,
        clusters=(),
        usage=Usage.ADMIN,
        issued_at=clock.now(),
        not_after=issued.not_after,
        fingerprint=issued.fingerprint,
        issued_by=ISSUER,
    )
    detail = {
        "serial": credential.serial,
        "usage": credential.usage.value,
        "notAfter": rfc3339(credential.not_after),
        "reason": why,
    }
    async with acts.act("credential.issue", USER, detail):
        await store.record_credential(credential)
    return credential, issued.pem, key_pem(key)


async def _revoke(store: StateStore, acts: Acts, serial: str, new: Credential) -> None:
    """End what `new` replaces: the one that was in the file, and any whose file was lost.

    Replicas share a database, and each has one: there the file alone says which is ours.
    """
    for item in await store.credentials(user=USER):
        ours = item.serial == serial or not store.shared
        if item.serial == new.serial or item.issued_by != ISSUER or not ours:
            continue
        reason = f"replaced by {new.serial}"
        async with acts.act("credential.revoke", item.serial, {"user": USER, "reason": reason}):
            await store.revoke(serial=item.serial, reason=reason)

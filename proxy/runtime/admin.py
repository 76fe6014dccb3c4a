"""The administrator of this machine: a credential that commands find in the data directory.

Whoever can read the directory could use the authority's key anyway, so this gives nothing away.
It is renewed by `serve`, long before it ends.
"""

import base64
import binascii
from typing import Any, Final

import yaml
from cryptography import x509

from proxy.clock import Clock
from proxy.data_dir import DataDir
from proxy.files import replace_private
from proxy.pki.authorities import Authorities
from proxy.pki.keys import fingerprint, key_pem, new_key, serial_text
from proxy.pki.kubeconfig import base64_text
from proxy.state.repository import StateStore
from proxy.state.snapshot import Credential, Usage

USER: Final = "admin"
LIFE: Final = 90 * 86_400.0
"""Seconds; renewed when a third is left."""


async def ensure_admin(
    data: DataDir, store: StateStore, authorities: Authorities, *, server: str, clock: Clock
) -> Credential | None:
    """Make the context file say how to reach the control plane at `server` (`https://host:port`).

    Returns the credential when a new one had to be issued: there was none, it is about to end, was
    revoked, or is of an authority that is no longer trusted.
    """
    found = _read(data)
    credential = None
    if not await _good(found, store, authorities, clock.now()):
        credential, certificate, key = await _issue(store, authorities, clock)
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
    if wanted != found:
        text = yaml.safe_dump(wanted, sort_keys=False, width=1_000_000)
        replace_private(data.admin_context, text.encode())
    return credential


def _read(data: DataDir) -> dict[str, Any]:
    try:
        document = yaml.safe_load(data.admin_context.read_bytes())
    except (OSError, yaml.YAMLError):
        return {}  # missing or damaged; it is ours to write
    return document if isinstance(document, dict) else {}


async def _good(
    found: dict[str, Any], store: StateStore, authorities: Authorities, now: float
) -> bool:
    try:
        pem = base64.b64decode(found["client-certificate-data"], validate=True)
        certificate = x509.load_pem_x509_certificate(pem)
        found["client-key-data"] = str(found["client-key-data"])
    except (KeyError, TypeError, binascii.Error, ValueError):
        return False
    if certificate.not_valid_after_utc.timestamp() - now < LIFE / 3:
        return False
    if certificate.issuer not in {item.subject for item in authorities.trusted}:
        return False
    known = await store.credentials(serial=serial_text(certificate))
    return any(item.fingerprint == fingerprint(certificate) for item in known)


async def _issue(
    store: StateStore, authorities: Authorities, clock: Clock
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
        issued_by="kubewitness",
    )
    await store.record_credential(credential)
    return credential, issued.pem, key_pem(key)

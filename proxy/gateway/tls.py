"""The listeners' TLS: built from files, and rebuilt when the files change.

Client certificates are asked for, not demanded (`CERT_OPTIONAL`): a client without one is answered
with a readable 401 instead of a broken handshake. One that is shown must verify, or the handshake
fails. What a certificate allows is decided later, per call.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import structlog

from proxy.errors import SettingsError

_log = structlog.get_logger(__name__)

LOOK_INTERVAL: Final = 1.0
"""Seconds between looks at the files."""

# Forward secrecy and authenticated encryption only; TLS 1.3 suites are always of that kind.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"

_Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """The PEM files a listener's context is made of."""

    cert: Path
    """Server certificate, followed by its intermediates."""
    key: Path
    trust: Callable[[], bytes]
    """Reads the certificates (PEM) of every authority whose clients we accept, old and new."""
    trust_files: Callable[[], Iterable[Path]]
    """The files that `trust` depends on; also asked again on every look."""
    min_version: Literal["1.2", "1.3"] = "1.2"

    def fingerprint(self) -> _Fingerprint:
        """What changes when a file is written, replaced, added or removed."""
        return tuple(_stat(path) for path in (self.cert, self.key, *sorted(self.trust_files())))


def _stat(path: Path) -> tuple[str, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (str(path), 0, 0, 0)
    return (str(path), found.st_mtime_ns, found.st_size, found.st_ino)


def server_context(files: ServerFiles) -> ssl.SSLContext:
    """Build a listener's context.

    Raises SettingsError naming the file that is missing, unreadable or does not match the others.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = (
        ssl.TLSVersion.TLSv1_3 if files.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    )
    context.set_ciphers(_CIPHERS)
    # No renegotiation, and no compression (CRIME).
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    context.verify_mode = ssl.CERT_OPTIONAL
    # No tickets: a resumed session would not have its certificate verified again.
    context.num_tickets = 0
    # An external authority may be an intermediate; its own file is then the anchor.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        # A password callback keeps OpenSSL from asking on the terminal.
        context.load_cert_chain(files.cert, files.key, password=_no_password)
    except (OSError, ssl.SSLError, _EncryptedKeyError) as error:
        raise SettingsError(
            f"server certificate {files.cert} with key {files.key}: {_reason(error)}",
            hint="Both must be readable PEM files, the key unencrypted and of that certificate.",
        ) from error
    try:
        context.load_verify_locations(cadata=files.trust().decode("ascii"))
    except (OSError, ssl.SSLError, ValueError) as error:
        raise SettingsError(f"certificate authorities: {_reason(error)}") from error
    return context


class _EncryptedKeyError(Exception):
    """The key file wants a password."""


def _no_password() -> str:
    raise _EncryptedKeyError("the key is encrypted")


def _reason(error: Exception) -> str:
    return str(error.strerror if isinstance(error, OSError) and error.strerror else error)


class ServerTLS:
    """The current context of a listener; `watch` keeps it in step with the files.

    The first context is built at once, so broken files stop the start (SettingsError). Later a
    broken file keeps the context that works, with a warning.
    """

    def __init__(self, files: ServerFiles) -> None:
        self._files = files
        self._seen = files.fingerprint()
        self._context = server_context(files)

    def context(self) -> ssl.SSLContext:
        """The context for the next handshake."""
        return self._context

    def refresh(self) -> bool:
        """Look at the files; return whether a new context took effect.

        A file that changes while we read is seen again on the next look, because the fingerprint
        is taken first.
        """
        seen = self._files.fingerprint()
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self._context = server_context(self._files)
        except SettingsError as error:
            _log.warning(
                "new server certificate not usable; keeping the old one",
                error=error.message,
                advice=error.hint,
            )
            return False
        _log.info("server certificate reloaded", cert=str(self._files.cert))
        return True

    async def watch(self, interval: float = LOOK_INTERVAL) -> None:
        """Refresh every `interval` seconds, until cancelled."""
        while True:
            await asyncio.sleep(interval)
            self.refresh()

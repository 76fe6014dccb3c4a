"""Who we are: the authorities, the listeners' certificates, and the administrator of this machine.

One process of a proxy (the one with the control plane) issues and renews; its workers only read.
The control plane always shows a certificate of our own authority, which every credential's owner
trusts already; the data plane shows the one the settings name, if they name one.
"""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog

from proxy.clock import Clock
from proxy.data_dir import DataDir
from proxy.errors import KubewitnessError, SettingsError
from proxy.gateway.tls import LOOK_INTERVAL, ServerFiles, ServerTLS
from proxy.metrics import Metrics
from proxy.pki.authorities import Authorities, authority_of, read_certificates
from proxy.pki.keys import fingerprint
from proxy.pki.server import server_certificate
from proxy.settings import Settings

_log = structlog.get_logger(__name__)

RENEWAL_INTERVAL: Final = 3600.0
"""Seconds between looks at whether our server certificate should be renewed."""
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
"""Always in our own certificate: commands on this machine connect there."""


class Identity:
    """The certificates of one process, kept current by `watch`."""

    def __init__(
        self, settings: Settings, data: DataDir, clock: Clock, metrics: Metrics, *, issuing: bool
    ) -> None:
        self._settings = settings
        self._data = data
        self._clock = clock
        self._metrics = metrics
        self._issuing = issuing
        self._authorities = self._open()
        if issuing:
            self._renew()
        own = self._files(data.pki / "server.crt", data.pki / "server.key")
        cert, key = _external(settings)
        self.control = ServerTLS(own)
        """The control plane's TLS."""
        self.gateway = self.control if cert is None else ServerTLS(self._files(cert, key))
        """The data plane's TLS."""
        self._gateway_file = cert or own.cert
        self._observe()

    def authorities(self) -> Authorities:
        """The authorities as last read, less than two seconds ago."""
        return self._authorities

    def trusts(self, wanted: str) -> bool:
        """Whether the authority with that fingerprint (SHA-256, hex) is one of ours."""
        return wanted in map(fingerprint, self._authorities.trusted)

    def adopt(self, certificate: bytes, key: bytes) -> bool:
        """Take over an authority (PEM) of another replica; says whether it is new here.

        Blocking; one at a time. Raises SettingsError when the two do not belong together, OSError.
        """
        made = authority_of(certificate, key)
        now = self._open()
        new = now.adopt(made)
        self._authorities = new
        return new is not now

    def server_expiry(self) -> float:
        """When the data plane's certificate ends, in seconds since the epoch."""
        return read_certificates(self._gateway_file)[0].not_valid_after_utc.timestamp()

    async def watch(self, changed: Callable[[], None]) -> None:
        """Follow the files and renew our certificate, until cancelled.

        `changed` is called after a listener's context changed.
        """
        renewed_at = self._clock.monotonic()
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            if self._issuing and self._clock.monotonic() - renewed_at >= RENEWAL_INTERVAL:
                renewed_at = self._clock.monotonic()
                self._try_renew()
            # Both are asked, also when they are one.
            if any([self.control.refresh(), self.gateway.refresh()]):
                self._observe()
                changed()

    def _files(self, cert: Path, key: Path | None) -> ServerFiles:
        return ServerFiles(
            cert=cert,
            key=key or cert,
            trust=self._trust,
            trust_files=self._trust_files,
            min_version=self._settings.tls.min_version,
        )

    def _trust(self) -> bytes:
        self._authorities = self._open()
        return self._authorities.bundle_pem()

    def _trust_files(self) -> Iterable[Path]:
        external = self._settings.tls.ca_cert_file
        beside = [external, *external.parent.glob("ca-old-*.crt")] if external else []
        return [*self._data.pki.glob("ca*.crt"), *beside]

    def _open(self) -> Authorities:
        return Authorities.open(
            self._data.pki,
            clock=self._clock,
            tls=self._settings.tls,
            credentials=self._settings.credentials,
        )

    def _renew(self) -> None:
        names = tuple(dict.fromkeys((*self._settings.tls.names, *LOOPBACK)))
        server_certificate(self._authorities, names, clock=self._clock)

    def _try_renew(self) -> None:
        try:
            self._renew()
        except (KubewitnessError, OSError) as error:
            _log.warning("server certificate could not be renewed", error=str(error))

    def _observe(self) -> None:
        expiry = self._metrics.certificate_expiry
        expiry.labels("server").set(self.server_expiry())
        authority = self._authorities.current.certificate.not_valid_after_utc
        expiry.labels("authority").set(authority.timestamp())


def _external(settings: Settings) -> tuple[Path | None, Path | None]:
    cert, key = settings.tls.cert_file, settings.tls.key_file
    if (cert is None) != (key is None):
        raise SettingsError("tls.cert_file and tls.key_file are given together or not at all.")
    return cert, key

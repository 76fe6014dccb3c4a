"""The authorities of a data directory: one signs credentials, all of them are trusted.

Files under `<data-dir>/pki/`, keys with mode 0600:

    ca.crt ca.key                  the current authority, unless settings name an external one
    ca-old-<n>.crt ca-old-<n>.key  former ones, trusted until they end
    ca-next.crt ca-next.key        exist only while a rotation is under way

Of an external authority, former ones may also lie beside it, under the same names.

Rotation never locks anyone out. From its moment credentials are signed by the new authority and
kubeconfigs carry both. Kubeconfigs handed out earlier carry only the old one, so the server's own
certificate stays signed by the old authority until the last of them has ended (`overlap`).
"""

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from proxy.clock import Clock
from proxy.errors import SettingsError
from proxy.files import create_private, replace_private, sync_directory
from proxy.pki.authority import Authority, Issued, new_authority, pem
from proxy.pki.keys import PrivateKey, PublicKey, checked, fingerprint, key_pem, new_key
from proxy.pki.ttl import parse_ttl
from proxy.settings import TLS, Credentials

_OLD: Final = re.compile(r"ca-old-([0-9]+)\.(crt|key)", re.ASCII)


class Authorities:
    """Every authority of one data directory, as read at one moment."""

    def __init__(
        self, directory: Path, signer: Authority, former: tuple[Authority | x509.Certificate, ...],
        *, clock: Clock, max_ttl: float, external: bool,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.current = signer
        """Signs credentials."""
        self.external = external
        self._former = former
        self._clock = clock
        self._max_ttl = max_ttl

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        clock: Clock,
        tls: TLS | None = None,
        credentials: Credentials | None = None,
    ) -> Self:
        """Read the authorities of `<data-dir>/pki`, making the first one when there is none.

        Safe to call from several processes at once. Raises SettingsError naming the file and what
        is wrong with it: unreadable, key and certificate differ, may not sign, expired.
        """
        tls, credentials = tls or TLS(), credentials or Credentials()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        external = _external(tls, clock.now())
        own = None if external and not _exists(directory) else _own(directory, clock.now())
        signer = external or own
        assert signer is not None  # noqa: S101  # own is read whenever external is not given
        former = _former(directory)
        if external and tls.ca_cert_file is not None:
            former += _former(tls.ca_cert_file.parent)
        if external and own:
            former = (own, *former)
        return cls(
            directory,
            signer,
            former,
            clock=clock,
            max_ttl=parse_ttl(credentials.max_ttl),
            external=external is not None,
        )

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        """Certificates that a client certificate may lead to, and that clients should trust.

        Those that ended are left out.
        """
        now = self._clock.now()
        every = [self.current.certificate, *self.current.chain]
        every += [
            item.certificate if isinstance(item, Authority) else item for item in self._former
        ]
        unique = {fingerprint(item): item for item in every}
        return tuple(item for item in unique.values() if item.not_valid_after_utc.timestamp() > now)

    def bundle_pem(self) -> bytes:
        """`trusted` as PEM: for `certificate-authority-data` and for the listener's trust."""
        return pem(*self.trusted)

    def issue(
        self,
        key: bytes | PublicKey,
        *,
        user: str,
        groups: Iterable[str] = (),
        ttl: float,
        max_ttl: float | None = None,
    ) -> Issued:
        """A client certificate from the current authority; see `Authority.issue`.

        `max_ttl` replaces `credentials.max_ttl` (for our own administrative credentials).
        """
        return self.current.issue(
            key,
            user=user,
            groups=groups,
            ttl=ttl,
            max_ttl=self._max_ttl if max_ttl is None else max_ttl,
            now=self._clock.now(),
        )

    def serving(self, overlap: float | None = None) -> Authority:
        """The authority to sign the server's certificate with.

        The newest one that is at least `overlap` seconds old (default: the longest life of a
        kubeconfig), so that every kubeconfig in use trusts it; else the oldest there is.
        """
        overlap = self._max_ttl if overlap is None else overlap
        now = self._clock.now()
        able = [self.current, *(item for item in self._former if isinstance(item, Authority))]
        able = [item for item in able if item.certificate.not_valid_after_utc.timestamp() > now]
        able.sort(key=lambda item: item.certificate.not_valid_before_utc, reverse=True)
        ripe = (
            item
            for item in able
            if item.certificate.not_valid_before_utc.timestamp() <= now - overlap
        )
        return next(ripe, able[-1] if able else self.current)

    def rotate(self) -> "Authorities":
        """Make a new authority that signs from now on; the present one stays trusted.

        Returns the new set; this object stays as it was. Raises SettingsError when the authority is
        external, since then it is rotated where it lives.
        """
        return self._install(self.following())

    def following(self) -> Authority:
        """A new authority, written nowhere yet. Raises SettingsError as `rotate` does."""
        if self.external:
            raise SettingsError(
                "The certificate authority is external (tls.ca_cert_file) and is not ours to rotate.",
                hint="Replace the files it names; keep the former ones beside them as ca-old-1.crt and ca-old-1.key, so that it stays trusted.",
            )
        return new_authority(new_key(), self._clock.now())

    def adopt(self, made: Authority) -> "Authorities":
        """Trust `made`, which another replica signs with by now, and sign with it unless ours is newer.

        Returns the new set.
        """
        if fingerprint(made.certificate) in map(fingerprint, self.trusted):
            return self
        mine = self.current.certificate.not_valid_before_utc
        if self.external or made.certificate.not_valid_before_utc < mine:
            former = (self._keep(made), *self._former)
            return Authorities(
                self.directory, self.current, former,
                clock=self._clock, max_ttl=self._max_ttl, external=self.external,
            )  # fmt: skip
        return self._install(made)

    def _install(self, made: Authority) -> "Authorities":
        """Sign with `made`. Every step can be interrupted: `open` finds the old one or the new one, whole."""
        former = self._keep(self.current)
        next_crt, next_key = self.directory / "ca-next.crt", self.directory / "ca-next.key"
        replace_private(next_crt, pem(made.certificate))
        replace_private(next_key, key_pem(made.key))
        next_key.replace(self.directory / "ca.key")
        with contextlib.suppress(FileNotFoundError):  # an `open` elsewhere has finished it for us
            next_crt.replace(self.directory / "ca.crt")
        sync_directory(self.directory)
        return Authorities(
            self.directory, made, (former, *self._former),
            clock=self._clock, max_ttl=self._max_ttl, external=False,
        )  # fmt: skip

    def _keep(self, authority: Authority) -> Authority:
        taken = [int(match[1]) for match in map(_OLD.fullmatch, _names(self.directory)) if match]
        number = max(taken, default=0) + 1
        create_private(self.directory / f"ca-old-{number}.key", key_pem(authority.key))
        create_private(self.directory / f"ca-old-{number}.crt", pem(authority.certificate))
        return authority


def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Every certificate of a PEM file; raises SettingsError when there is none."""
    try:
        return tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise SettingsError(f"{path}: does not hold a certificate in PEM.") from error


def read_key(path: Path) -> PrivateKey:
    """The private key of a PEM file.

    Raises SettingsError when it cannot be read, is encrypted, or is of an unsupported kind.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
        checked(key.public_key())
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}.") from error
    except TypeError as error:
        raise SettingsError(
            f"{path}: the key is encrypted.", hint="Store it without a passphrase, mode 0600."
        ) from error
    except ValueError as error:
        raise SettingsError(f"{path}: does not hold a private key in PEM.") from error
    return key  # type: ignore[return-value]  # `checked` refused every other kind


def authority_of(certificate: bytes, key: bytes) -> Authority:
    """An authority from PEM. Raises SettingsError when it is none, or the two do not belong together."""
    try:
        first = x509.load_pem_x509_certificate(certificate)
        private = load_pem_private_key(key, password=None)
        checked(private.public_key())
    except (ValueError, TypeError) as error:
        raise SettingsError("The authority cannot be read.") from error
    if first.public_key() != private.public_key():
        raise SettingsError("The key is not that of the authority's certificate.")
    return Authority(first, private)  # type: ignore[arg-type]  # `checked` refused every other kind


def read_authority(certificate: Path, key: Path, now: float) -> Authority:
    """An authority from two PEM files; further certificates in the first are intermediates.

    Raises SettingsError naming the file when it may not or cannot sign for us at `now`.
    """
    first, *chain = read_certificates(certificate)
    private = read_key(key)
    if first.public_key() != private.public_key():
        raise SettingsError(f"{key}: is not the key of {certificate}.")
    if first.not_valid_after_utc.timestamp() <= now:
        raise SettingsError(
            f"{certificate}: the authority expired {first.not_valid_after_utc:%Y-%m-%d %H:%M} UTC."
        )
    if first.not_valid_before_utc.timestamp() > now:
        raise SettingsError(
            f"{certificate}: the authority is valid only from {first.not_valid_before_utc:%Y-%m-%d %H:%M} UTC."
        )
    if not _may_sign(first):
        raise SettingsError(
            f"{certificate}: is not a certificate authority.",
            hint="It needs basicConstraints CA:TRUE and, with keyUsage, keyCertSign.",
        )
    return Authority(first, private, tuple(chain))


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid


def _external(tls: TLS, now: float) -> Authority | None:
    if tls.ca_cert_file is None and tls.ca_key_file is None:
        return None
    if tls.ca_cert_file is None or tls.ca_key_file is None:
        raise SettingsError(
            "tls.ca_cert_file and tls.ca_key_file are given together or not at all."
        )
    return read_authority(tls.ca_cert_file, tls.ca_key_file, now)


def _exists(directory: Path) -> bool:
    return (directory / "ca.crt").exists()


def _own(directory: Path, now: float) -> Authority:
    certificate, key = directory / "ca.crt", directory / "ca.key"
    if not _exists(directory):
        _create(certificate, key, now)
    else:
        _finish_rotation(directory)
    return read_authority(certificate, key, now)


def _create(certificate: Path, key: Path, now: float) -> None:
    # Another process may be at it, or have stopped half-way: the key that is there is certified,
    # and the certificate that is there is used.
    with contextlib.suppress(FileExistsError):
        create_private(key, key_pem(new_key()))
    with contextlib.suppress(FileExistsError):
        create_private(certificate, pem(new_authority(read_key(key), now).certificate))


def _finish_rotation(directory: Path) -> None:
    following = directory / "ca-next.crt"
    if not following.exists():
        return
    if read_certificates(following)[0].public_key() == read_key(directory / "ca.key").public_key():
        following.replace(directory / "ca.crt")
        sync_directory(directory)


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def _former(directory: Path) -> tuple[Authority | x509.Certificate, ...]:
    found: list[tuple[int, Authority | x509.Certificate]] = []
    for match in map(_OLD.fullmatch, _names(directory)):
        if match is None or match[2] != "crt":
            continue
        path = directory / match[0]
        certificate = read_certificates(path)[0]
        key = path.with_suffix(".key")
        found.append(
            (int(match[1]), Authority(certificate, read_key(key)) if key.exists() else certificate)
        )
    return tuple(item for _, item in sorted(found, key=lambda pair: -pair[0]))

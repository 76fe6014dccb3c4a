"""Secrets at rest: sealed with a key that lies beside the database, not in it.

AES-256-GCM. What is sealed is bound to a context (the cluster's id), so a sealed value moved to
another row does not open. Layout: `kw1:`, key id (4 bytes), nonce (12 bytes), ciphertext and tag.
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.errors import KubewitnessError, SettingsError
from proxy.files import create_private

_PREFIX: Final = b"kw1:"
KEY_BYTES: Final = 32
"""Length of the key of the state."""
_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_HEAD: Final = len(_PREFIX) + _ID_BYTES + _NONCE_BYTES


class SealError(KubewitnessError):
    """A sealed value cannot be opened: another key, another context, or damaged."""


class SecretBox:
    """Seals and opens secrets with one key."""

    def __init__(self, key: bytes, origin: str = "state.key") -> None:
        self._cipher = AESGCM(key)
        self._id = hashlib.sha256(b"kubewitness state key" + key).digest()[:_ID_BYTES]
        self.origin = origin
        """Where the key is, for people."""

    @property
    def key_id(self) -> str:
        """What tells this key from others and gives nothing of it away; hex."""
        return self._id.hex()

    @classmethod
    def choose(cls, given: Path | None, own: Path) -> Self:
        """The box of a proxy: with the key the settings name, else with the one in `own`."""
        return cls.open(own) if given is None else cls.load(given)

    @classmethod
    def open(cls, path: Path) -> Self:
        """The box whose key is in `path` (`<data-dir>/pki/state.key`), made when it is missing.

        Raises SettingsError when the file is not a key of ours or others may read it.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            if not path.exists():
                create_private(path, os.urandom(KEY_BYTES))
        return cls._read(path, 0o077)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The box whose key somebody else put at `path` (`state_key_file`). Nothing is made.

        Its group may read it, as of a secret that Kubernetes mounts. Raises SettingsError.
        """
        if not path.exists():
            raise SettingsError(
                f"state_key_file: {path} does not exist.",
                hint="Copy pki/state.key of the first replica's data directory there, or make a key: "
                f"(umask 077; head -c {KEY_BYTES} /dev/urandom > {path}).",
            )
        return cls._read(path, 0o007)

    @classmethod
    def _read(cls, path: Path, strangers: int) -> Self:
        try:
            key, mode = path.read_bytes(), path.stat().st_mode
        except OSError as error:
            raise SettingsError(f"{path}: cannot be read: {error.strerror}.") from error
        if len(key) != KEY_BYTES:
            raise SettingsError(
                f"{path}: is not a state key ({KEY_BYTES} bytes).",
                hint="Restore it from backup. If there is none: README, Secrets at rest.",
            )
        if mode & strangers:
            raise SettingsError(f"{path}: others may read the state key.", hint=f"chmod 600 {path}")
        return cls(key, str(path))

    def seal(self, context: str, secret: bytes) -> bytes:
        """`secret` encrypted, to be opened with the same `context` only."""
        nonce = os.urandom(_NONCE_BYTES)
        return _PREFIX + self._id + nonce + self._cipher.encrypt(nonce, secret, context.encode())

    def unseal(self, context: str, sealed: bytes) -> bytes:
        """The secret in `sealed`. Raises SealError saying why it does not open."""
        if len(sealed) < _HEAD or not sealed.startswith(_PREFIX):
            raise SealError("The sealed secret has an unknown format.")
        key_id = sealed[len(_PREFIX) : len(_PREFIX) + _ID_BYTES]
        if key_id != self._id:
            raise SealError(
                f"The secret was sealed with key {key_id.hex()}, and {self.origin} holds {self._id.hex()}.",
                hint="Restore the key file that belongs to this database. If it is lost, remove the "
                "cluster and add it again.",
            )
        nonce = sealed[len(_PREFIX) + _ID_BYTES : _HEAD]
        try:
            return self._cipher.decrypt(nonce, sealed[_HEAD:], context.encode())
        except InvalidTag as error:
            raise SealError(
                "The sealed secret was altered or belongs to another cluster.",
                hint="Add the cluster again.",
            ) from error


def key_of(sealed: bytes) -> str:
    """The id of the key that sealed this; empty for an unknown format."""
    known = len(sealed) >= _HEAD and sealed.startswith(_PREFIX)
    return sealed[len(_PREFIX) : len(_PREFIX) + _ID_BYTES].hex() if known else ""

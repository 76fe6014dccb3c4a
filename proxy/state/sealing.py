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
_KEY_BYTES: Final = 32
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
        self._origin = origin

    @classmethod
    def open(cls, path: Path) -> Self:
        """The box whose key is in `path` (`<data-dir>/pki/state.key`), made when it is missing.

        Raises SettingsError when the file is not a key of ours or others may read it.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            if not path.exists():
                create_private(path, os.urandom(_KEY_BYTES))
        try:
            key, mode = path.read_bytes(), path.stat().st_mode
        except OSError as error:
            raise SettingsError(f"{path}: cannot be read: {error.strerror}.") from error
        if len(key) != _KEY_BYTES:
            raise SettingsError(
                f"{path}: is not a state key ({_KEY_BYTES} bytes).", hint="Restore it from backup."
            )
        if mode & 0o077:
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
                f"The secret was sealed with key {key_id.hex()}, and {self._origin} holds {self._id.hex()}.",
                hint="Restore the key file that belongs to this database, or add the cluster again.",
            )
        nonce = sealed[len(_PREFIX) + _ID_BYTES : _HEAD]
        try:
            return self._cipher.decrypt(nonce, sealed[_HEAD:], context.encode())
        except InvalidTag as error:
            raise SealError(
                "The sealed secret was altered or belongs to another cluster.",
                hint="Add the cluster again.",
            ) from error

"""Our own credential at a cluster, in each form a kubeconfig can give it, and how long it lasts."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from proxy.errors import UnavailableError
from proxy.upstream.access import Access

TOKEN_FILE_SECONDS: Final = 10.0
"""How often a token file is read again; kubelet replaces service-account tokens long before they end."""


class LoginError(UnavailableError):
    """Our credential at a cluster cannot be obtained now. The message never holds a secret."""


@dataclass(frozen=True, slots=True)
class Login:
    """A credential at one moment."""

    authorization: bytes | None = None
    certificate: tuple[bytes, bytes] | None = None
    """Client certificate and key, PEM."""
    expires: float | None = None
    """Wall time at which it ends, when that is known."""
    again_after: float | None = None
    """Seconds after which to look again although it has not ended."""

    def __repr__(self) -> str:
        return f"Login(expires={self.expires})"


class LoginSource(Protocol):
    """Where a credential comes from."""

    async def obtain(self) -> Login:
        """The credential as it is now. Raises LoginError."""
        ...


class StaticLogin:
    """A token, a password or a certificate that stands in the kubeconfig."""

    def __init__(self, access: Access) -> None:
        pair = (access.certificate_pem, access.key_pem)
        certificate = (pair[0], pair[1]) if pair[0] is not None and pair[1] is not None else None
        self._login = Login(_authorization(access), certificate)

    async def obtain(self) -> Login:
        """The same every time."""
        return self._login


class TokenFileLogin:
    """A token in a file that something else keeps fresh (service accounts, sidecars)."""

    def __init__(self, path: Path, access: Access | None = None) -> None:
        self._path = path
        self._fixed = StaticLogin(access) if access is not None else None

    async def obtain(self) -> Login:
        """Read the file. Raises LoginError when it is missing, empty or not a token."""
        try:
            token = self._path.read_text(encoding="ascii").strip()
        except OSError as error:
            raise LoginError(f"token file {self._path}: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise LoginError(f"token file {self._path}: is not text.") from error
        certificate = (await self._fixed.obtain()).certificate if self._fixed else None
        return Login(
            bearer(token, f"token file {self._path}"), certificate, again_after=TOKEN_FILE_SECONDS
        )


def bearer(token: str, origin: str) -> bytes:
    """The Authorization value for `token`; raises LoginError, naming `origin`, if it cannot be one."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise LoginError(f"{origin}: holds no token that can stand in a header.")
    return b"Bearer " + token.encode()


def _authorization(access: Access) -> bytes | None:
    if access.token:
        return bearer(access.token, "the kubeconfig's token")
    if access.basic is not None:
        return b"Basic " + base64.b64encode(":".join(access.basic).encode())
    return None

"""What every Kubernetes client does for a credential that does not stand in the kubeconfig.

It runs the exec plugin that the operator permitted, or reads the service account of the pod. As in
client-go, but a plugin has a time limit, no terminal and little of our environment, and nothing of
what it prints is repeated.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from proxy.environment import inherited
from proxy.upstream.access import Access, AccessError
from proxy.upstream.login import Login, LoginError, LoginSource, StaticLogin, TokenFileLogin, bearer

PLUGIN_SECONDS: Final = 60.0
"""How long an exec plugin may take."""
_KILL_SECONDS: Final = 5.0
"""How long to wait until the system has cleared a killed plugin away."""
_LARGEST_ANSWER: Final = 1024 * 1024
_INHERITED: Final = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    }
)
_CLOUDS: Final = ("AWS_", "AZURE_", "CLOUDSDK_", "GOOGLE_")
"""What a plugin gets of our environment: names, and beginnings of those the clouds put there for
it. Nothing else, whatever it is called: a database's password stands in ours."""
_SERVICE: Final = "KUBERNETES_SERVICE"
_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class _Status(msgspec.Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None


class _Answer(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    status: _Status


class _Variable(msgspec.Struct):
    name: str
    value: str = ""


class _Exec(msgspec.Struct, rename="camel"):
    """The `exec` section of a kubeconfig's user."""

    api_version: str
    command: str
    args: list[str] | None = None
    env: list[_Variable] | None = None
    provide_cluster_info: bool = False


class ExecLogin:
    """A credential from an exec plugin (client.authentication.k8s.io)."""

    def __init__(self, access: Access, *, timeout: float = PLUGIN_SECONDS) -> None:
        try:
            plugin = msgspec.convert(dict(access.plugin or {}), _Exec, strict=False)
        except msgspec.ValidationError as error:
            raise AccessError(
                "The kubeconfig's exec section is malformed.", hint=str(error)
            ) from error
        self._command = [plugin.command, *(plugin.args or ())]
        self._timeout = timeout
        self._version = plugin.api_version
        self._environment = {
            **{name: value for name, value in inherited().items() if _handed_on(name)},
            **{item.name: item.value for item in plugin.env or ()},
        }
        self._environment["KUBERNETES_EXEC_INFO"] = _exec_info(plugin, access)

    async def obtain(self) -> Login:
        """Run the plugin. Raises LoginError when it fails, hangs or answers nonsense.

        What it prints is never repeated in the message: it can hold the credential.
        """
        output = await self._run()
        try:
            answer = msgspec.json.decode(output, type=_Answer)
        except msgspec.DecodeError as error:
            raise self._error("did not print an ExecCredential") from error
        if answer.kind != "ExecCredential" or answer.api_version != self._version:
            raise self._error(f"answered {answer.api_version}, not {self._version}")
        status = answer.status
        if bool(status.client_certificate_data) != bool(status.client_key_data):
            raise self._error("gave a certificate without its key, or the other way round")
        if not status.token and not status.client_certificate_data:
            raise self._error("gave neither a token nor a certificate")
        pair = (status.client_certificate_data.encode(), status.client_key_data.encode())
        expiry = status.expiration_timestamp
        return Login(
            bearer(status.token.strip(), "the exec plugin") if status.token else None,
            pair if pair[0] else None,
            expires=expiry.timestamp() if expiry else None,
        )

    async def _run(self) -> bytes:
        loop = asyncio.get_running_loop()
        try:
            transport, plugin = await loop.subprocess_exec(
                _Plugin,
                *self._command,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                # Its diagnostics are its own; a token in them must not get into our log.
                stderr=asyncio.subprocess.DEVNULL,
                # A group of its own: what it started ends with it.
                start_new_session=True,
            )
        except OSError as error:
            raise self._error(f"cannot be started: {error.strerror}") from error
        try:
            async with asyncio.timeout(self._timeout):
                await plugin.ended.wait()
        except TimeoutError as error:
            raise self._error(f"took longer than {self._timeout:g} s") from error
        finally:
            if transport.get_returncode() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(transport.get_pid(), signal.SIGKILL)
            transport.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILL_SECONDS):
                    await plugin.gone.wait()
        if len(plugin.output) > _LARGEST_ANSWER:
            raise self._error("printed too much")
        if transport.get_returncode() != 0:
            raise self._error(f"ended with status {transport.get_returncode()}")
        return bytes(plugin.output)

    def _error(self, what: str) -> LoginError:
        return LoginError(
            f"exec plugin {self._command[0]!r} {what}.",
            hint="Run it by hand as the user the proxy runs as.",
        )


def _handed_on(name: str) -> bool:
    return name in _INHERITED or name.startswith(_CLOUDS)


class _Plugin(asyncio.SubprocessProtocol):
    """Collects what a plugin prints, up to a limit.

    Not asyncio's streams: a process of theirs that is killed with unread output never ends.
    """

    def __init__(self) -> None:
        self.output = bytearray()
        self.ended = asyncio.Event()
        """Set when it exited and closed its output, or printed too much."""
        self.gone = asyncio.Event()
        """Set when nothing of it is left."""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take what it printed."""
        if len(self.output) <= _LARGEST_ANSWER:
            self.output += data
        if len(self.output) > _LARGEST_ANSWER:
            self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """It exited and its output is closed."""
        self.ended.set()
        self.gone.set()


def _exec_info(plugin: _Exec, access: Access) -> str:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info:
        cluster: dict[str, Any] = {"server": access.server}
        if access.server_name:
            cluster["tls-server-name"] = access.server_name
        if access.insecure:
            cluster["insecure-skip-tls-verify"] = True
        if access.ca_pem is not None:
            cluster["certificate-authority-data"] = access.ca_pem  # bytes are encoded as base64
        spec["cluster"] = cluster
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    return msgspec.json.encode(info).decode()


def source_of(access: Access) -> LoginSource:
    """Where the credential of `access` comes from. Raises AccessError or LoginError."""
    if access.plugin is not None:
        return ExecLogin(access)
    if access.token_file is not None:
        return TokenFileLogin(access.token_file, access)
    return StaticLogin(access)


def own_namespace(directory: Path = _SERVICE_ACCOUNT) -> str:
    """The namespace of the pod we run in. Raises AccessError outside a pod."""
    try:
        return (directory / "namespace").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise AccessError("This process has no service account, so it is in no pod.") from error


def in_cluster_access(
    directory: Path = _SERVICE_ACCOUNT, environment: Mapping[str, str] | None = None
) -> Access:
    """The access that Kubernetes gives to the pod we run in.

    `environment` replaces the process's (KUBERNETES_SERVICE_HOST and _PORT). Raises AccessError
    outside a pod.
    """
    given = inherited() if environment is None else environment
    host, port = given.get(f"{_SERVICE}_HOST"), given.get(f"{_SERVICE}_PORT")
    token, authority = directory / "token", directory / "ca.crt"
    try:
        if not host or not port:
            raise _no_account(f"{_SERVICE}_HOST and _PORT are not set.")
        ca_pem = authority.read_bytes()
        if not ca_pem or not token.read_bytes():
            raise _no_account(f"{authority if not ca_pem else token} is empty.")
    except OSError as error:
        raise _no_account(f"{error.filename}: {error.strerror}.") from error
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Access(server=server, ca_pem=ca_pem, token_file=token)


def _no_account(why: str) -> AccessError:
    return AccessError(
        f"This process has no service account: {why}",
        hint="--in-cluster works inside a pod only; elsewhere use --kubeconfig.",
    )

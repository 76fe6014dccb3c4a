"""The command line's side of the REST API: one synchronous connection, a certificate or a token, JSON.

Only the standard library, so that commands start fast. Problems (RFC 9457) come back as the same
error classes the server raised, so exit codes mean the same on both sides.
"""

import http.client
import json
import os
import ssl
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from proxy import __version__
from proxy.control.audit.hostile import visible
from proxy.errors import (
    ConflictError,
    DeniedError,
    InvalidInputError,
    KubewitnessError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)

TIMEOUT: Final = 30.0
"""Seconds without a byte before a request is given up; live tails send one every ten."""
_AGENT: Final = f"kubewitness/{__version__} ({sys.platform})"
_ERRORS: Final[Mapping[int, type[KubewitnessError]]] = {
    400: InvalidInputError,
    401: DeniedError,
    403: DeniedError,
    404: NotFoundError,
    409: ConflictError,
    412: PreconditionError,
    413: InvalidInputError,
    415: InvalidInputError,
    503: UnavailableError,
}
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_LARGEST_PROBLEM: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Server:
    """Where the control plane is, how to trust it, and who we are there."""

    host: str
    port: int
    ca: str
    """PEM of the authorities that may have signed its certificate."""
    certificate: str = field(repr=False)
    """PEM of our certificate."""
    key: str = field(repr=False)
    """PEM of our private key; empty, like the certificate, when a token says who we are."""
    start: str = "Start it with `kubewitness serve`."
    """What to do when nothing answers there."""
    token: str = field(default="", repr=False)
    """API token."""

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Client:
    """Requests to one control plane."""

    def __init__(self, server: Server, timeout: float = TIMEOUT) -> None:
        self._server = server
        self._timeout = timeout
        self._tls = tls_context(server)

    @property
    def server(self) -> Server:
        """Where requests go."""
        return self._server

    @property
    def local(self) -> bool:
        """Whether the server runs on this machine, so that it can read our files."""
        return self._server.host in _LOOPBACK

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401  # JSON
        """The JSON answer to a GET."""
        return self._json("GET", path, query)

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401  # JSON
        """The JSON answer to a POST, or None when it has none."""
        return self._json("POST", path, body=body)

    def delete(
        self, path: str, query: Mapping[str, object] | None = None, *, version: str = ""
    ) -> Any:  # noqa: ANN401  # JSON
        """The JSON answer to a DELETE, or None when it has none."""
        return self._json("DELETE", path, query, version=version)

    def change(
        self, method: str, path: str, body: Mapping[str, object], *, version: str = ""
    ) -> Any:  # noqa: ANN401  # JSON
        """The JSON answer to a PATCH or PUT.

        With `version`, what `versioned` gave, it is refused when somebody else changed the thing
        in between (ConflictError).
        """
        return self._json(method, path, body=body, version=version)

    def versioned(self, path: str) -> tuple[Any, str]:
        """The JSON answer to a GET, and which version of the thing it is (its ETag)."""
        with self._request("GET", path) as response:
            return self._document(response), response.headers.get("ETag", "")

    def pages(self, path: str, query: Mapping[str, object] | None = None) -> Iterator[Any]:
        """Every item of a list, however many pages it has."""
        cursor = ""
        while True:
            page = self.get(path, {**(query or {}), "cursor": cursor})
            yield from page["items"]
            cursor = page.get("next", "")
            if not cursor:
                return

    def chunks(self, path: str, query: Mapping[str, object] | None = None) -> Iterator[bytes]:
        """The body of a long answer, as it arrives.

        Raises UnavailableError when the server breaks off before the end.
        """
        with self._request("GET", path, query) as response:
            while chunk := self._read(response, 64 * 1024):
                yield chunk

    def events(
        self, path: str, query: Mapping[str, object] | None = None
    ) -> Iterator[tuple[str, Any]]:
        """Kind and JSON data of each server-sent event, until the server ends the stream."""
        kind = ""
        with self._request("GET", path, query) as response:
            while line := self._line(response):
                name, _, value = line.rstrip(b"\r\n").partition(b": ")
                if name == b"event":
                    kind = value.decode()
                elif name == b"data":
                    yield kind, json.loads(value)

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        version: str = "",
    ) -> Any:  # noqa: ANN401  # JSON
        with self._request(method, path, query, body, version) as response:
            return self._document(response)

    def _document(self, response: http.client.HTTPResponse) -> Any:  # noqa: ANN401  # JSON
        parts = []
        while chunk := self._read(response, 1024 * 1024):
            parts.append(chunk)
        content = b"".join(parts)
        try:
            return json.loads(content) if content else None
        except ValueError as error:
            raise UnavailableError(f"{self._server.address} did not answer in JSON.") from error

    @contextmanager
    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        version: str = "",
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPSConnection(
            self._server.host, self._server.port, timeout=self._timeout, context=self._tls
        )
        content = None if body is None else json.dumps(body).encode()
        headers = self._headers(content, version)
        try:
            try:
                connection.connect()
                connection.request(method, "/api/v1" + path + _query(query), content, headers)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error
            if response.status >= 300:
                raise problem(response.status, response.read(_LARGEST_PROBLEM))
            yield response
        finally:
            connection.close()

    def _headers(self, content: bytes | None, version: str) -> dict[str, str]:
        headers = {"User-Agent": _AGENT, "Accept": "*/*"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if self._server.token:
            headers["Authorization"] = f"Bearer {self._server.token}"
        if version:
            headers["If-Match"] = version
        return headers

    def _read(self, response: http.client.HTTPResponse, size: int) -> bytes:
        try:
            return response.read1(size)
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(f"{self._server.address} broke off its answer.") from error

    def _line(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.readline()
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(f"{self._server.address} ended the stream.") from error

    def _unreachable(self, error: Exception) -> KubewitnessError:
        address = self._server.address
        if isinstance(error, ConnectionRefusedError):
            return UnavailableError(f"Nothing listens on {address}.", hint=self._server.start)
        if isinstance(error, ssl.SSLCertVerificationError):
            return DeniedError(
                f"{address} is not the server this context trusts: {error.verify_message}.",
                hint="Check the address, and the `ca-data` of the context.",
            )
        if isinstance(error, ssl.SSLError):
            return DeniedError(
                f"{address} refused our certificate: {error.reason or error}.",
                hint="It may be expired or of another authority; get a new admin credential.",
            )
        if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError):
            return UnavailableError(
                f"{address} closed the connection without an answer.",
                hint="It may not know our certificate (expired, or of another authority); "
                "its log says more.",
            )
        return UnavailableError(f"{address} does not answer: {error}.", hint=self._server.start)


def _query(query: Mapping[str, object] | None) -> str:
    pairs: list[tuple[str, str]] = []
    for name, value in (query or {}).items():
        if value is None or value == "" or value is False:
            continue
        values = value if isinstance(value, list | tuple) else [value]
        pairs += [(name, "true" if item is True else str(item)) for item in values]
    return f"?{urlencode(pairs)}" if pairs else ""


def problem(status: int, content: bytes) -> KubewitnessError:
    """The error that an answer with `status` and a problem document stands for.

    Its text is made fit for a terminal: a server we talk to by mistake may say anything.
    """
    kind = _ERRORS.get(status, KubewitnessError)
    try:
        told = json.loads(content)
        return kind(visible(told["detail"]), hint=visible(told.get("hint", "")))
    except (ValueError, KeyError, TypeError):
        return kind(f"The server answered {status} without saying why.")


def tls_context(server: Server) -> ssl.SSLContext:
    """A context that trusts the server's authority only, and shows our certificate if we have one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=server.ca)
        if server.certificate or not server.token:
            with _as_file(server.certificate + "\n" + server.key) as path:
                context.load_cert_chain(path)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise InvalidInputError(
            f"The credential for {server.address} cannot be used: {error}.",
            hint="Get a new one, or check the context file.",
        ) from error
    return context


@contextmanager
def _as_file(content: str) -> Iterator[str]:
    """A path that holds `content` for as long as the block runs; memory only, where there is memfd.

    Python's ssl takes keys from files only.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("kubewitness", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, content.encode())
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    descriptor, name = tempfile.mkstemp()
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        yield name
    finally:
        Path(name).unlink()

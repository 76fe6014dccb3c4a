"""Which headers pass, in both directions.

The head of an upstream request is built, not cleaned: a client's header gets in because its name
is on a list, and identity headers are added afterwards by somebody else. `last_gate` then looks
at the finished head as if it came from a stranger. Framing (`Content-Length`,
`Transfer-Encoding`, `Connection`, `Host`, `Expect`) is the forwarder's own business.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Iterable, Sequence
from typing import Final

from proxy.kube import impersonation
from proxy.kube.impersonation import Headers, Identity

Head = Sequence[tuple[bytes, bytes]]

# What Kubernetes clients send (wire reference 4.7) and kube-apiserver understands.
_ALLOWED: Final = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"baggage",
        b"cache-control",
        b"content-encoding",
        b"content-type",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"kubectl-command",
        b"kubectl-session",
        b"pragma",
        b"range",
        b"traceparent",
        b"tracestate",
        b"user-agent",
    }
)
# Only on a request that asks for another protocol. Sec-WebSocket-Extensions is missing on purpose:
# API servers negotiate none, and compressed frames could not be recorded.
_UPGRADE_ALLOWED: Final = _ALLOWED | {
    b"origin",
    b"sec-websocket-key",
    b"sec-websocket-protocol",
    b"sec-websocket-version",
    b"upgrade",
    b"x-stream-protocol-version",
}
_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Never from a client, not even to a backend: framing, credentials, claims about who and where.
_BACKEND_DENIED: Final = _HOP_BY_HOP | {
    b"audit-id",
    b"authorization",
    b"cf-connecting-ip",
    b"content-length",
    b"expect",
    b"forwarded",
    b"host",
    b"true-client-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-original-forwarded-for",
    b"x-real-ip",
}
_BACKEND_DENIED_PREFIXES: Final = (
    b"impersonate",
    b"proxy-",
    b"x-forwarded",
    b"x-kubewitness",
    b"x-remote-",
)
# A bearer token disguised as a WebSocket subprotocol (k8s.io/apiserver, authentication/websocket).
_TOKEN_SUBPROTOCOL: Final = b"base64url.bearer.authorization.k8s.io."

_TOKEN_BYTES: Final = (string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode()
_NAME_BYTES: Final = _TOKEN_BYTES.replace(b"_", b"")
_HARMLESS_OPTIONS: Final = frozenset({b"close", b"keep-alive", b"upgrade"})


class GateRefused(Exception):  # noqa: N818 - reads as what it is, where it is caught
    """A finished head that must not be sent; always a defect of the proxy, answered with 500."""


def sanitised(headers: Head, *, upgrade: bool, backend: bool = False) -> Headers:
    """The client's headers that may go upstream, in their order, with duplicates and letter case.

    Args:
        headers: as received.
        upgrade: the request asks for another protocol and will be tunnelled; `Upgrade` and the
            WebSocket and SPDY handshake pass, `Connection` is for the tunnel to write.
        backend: the request is for a program behind a `proxy` subresource, which needs headers of
            its own: then everything passes but credentials, identities, claims about the source
            and what belongs to one connection. Cookies pass.
    """
    listed: set[bytes] = set()
    kept: list[tuple[bytes, bytes, bytes]] = []
    allowed = _UPGRADE_ALLOWED if upgrade else _ALLOWED
    for name, value in headers:
        lower = name.lower()
        if lower in allowed or (backend and _may_reach_backend(lower, upgrade)):
            kept.append((lower, name, value))
        elif lower == b"connection":
            listed.update(_options(value))
    listed.discard(b"upgrade")
    if listed:
        kept = [header for header in kept if header[0] not in listed]
    if upgrade:
        return list(_without_tokens(kept))
    return [(name, value) for _, name, value in kept]


def _may_reach_backend(lower: bytes, upgrade: bool) -> bool:
    # Names with `_` are dropped: a backend may read them as `-` (CVE-2025-64484).
    if not lower or lower.translate(None, _NAME_BYTES):
        return False
    if lower in _BACKEND_DENIED or lower.startswith(_BACKEND_DENIED_PREFIXES):
        return False
    return upgrade or not lower.startswith(b"sec-websocket-")


def _options(connection: bytes) -> Iterable[bytes]:
    """The names that a `Connection` header lists, lower-cased."""
    return (option.strip(b" \t").lower() for option in connection.split(b","))


def _without_tokens(kept: Iterable[tuple[bytes, bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    """The headers of an upgrade without bearer tokens among their subprotocols."""
    for lower, name, value in kept:
        if lower == b"sec-websocket-protocol" and _TOKEN_SUBPROTOCOL in value.lower():
            offered = [part.strip(b" \t") for part in value.split(b",")]
            rest = [part for part in offered if not part.lower().startswith(_TOKEN_SUBPROTOCOL)]
            if rest:
                yield name, b", ".join(rest)
        else:
            yield name, value


def last_gate(head: Head, identity: Identity, *, authorization: bytes | None = None) -> None:
    """Checks a finished upstream head once more, trusting nobody who built it.

    1. There are headers; names are tokens without `_`; no name or value holds CR, LF or NUL.
    2. The identity headers are exactly those of `identity`: one user, the same groups as often,
       uid and extras, no other `impersonate…`.
    3. No `X-Remote-*`; `Authorization` only with the proxy's own credential, at most once.
    4. `Connection` lists nothing that could remove one of them on the way.

    Args:
        head: every header that will be sent.
        identity: who the call must run as.
        authorization: the value of the proxy's own `Authorization` header, if it uses one.

    Raises:
        GateRefused: the head must not be sent. The message holds no header value.
    """
    names = [name.lower() for name, _ in head]
    block = b":".join(names)
    _check_shape(block, names, head)
    # One look at all names at once: this runs for every call, and most heads hold none of these.
    if b"x-remote-" in block or b"authorization" in block or b"connection" in block:
        _check_gated(names, head, authorization)
    acting = [
        (name, header[1])
        for name, header in zip(names, head)  # noqa: B905  # made of it above; costs a third more
        if name[:11] == b"impersonate"
    ]
    acting.sort()
    if acting != _expected(identity):
        raise GateRefused("the impersonation headers are not those of the identity")


def _check_gated(names: list[bytes], head: Head, authorization: bytes | None) -> None:
    """Steps 3 and 4."""
    credentials = []
    for name, (_, value) in zip(names, head, strict=True):
        if name.startswith(b"x-remote-"):
            raise GateRefused("a front-proxy header (X-Remote-*) is present")
        if name == b"authorization":
            credentials.append(value)
        elif name == b"connection":
            _check_connection(value)
    if credentials and credentials != [authorization]:
        raise GateRefused("Authorization is not the proxy's own")


def _check_shape(block: bytes, names: list[bytes], head: Head) -> None:
    """Step 1, on all names and all values at once."""
    if block.translate(None, _NAME_BYTES) != b":" * (len(names) - 1) or not all(names):
        raise GateRefused("a header name is not a token")
    values = b" ".join([value for _, value in head])
    if b"\r" in values or b"\n" in values or b"\0" in values:
        raise GateRefused("a header value holds CR, LF or NUL")


@functools.lru_cache(maxsize=1024)
def _expected(identity: Identity) -> Headers:
    """The identity headers with lower-cased names, sorted."""
    try:
        return sorted((name.lower(), value) for name, value in impersonation.headers(identity))
    except impersonation.InvalidIdentity as error:
        raise GateRefused("the identity cannot be sent") from error


def _check_connection(value: bytes) -> None:
    if value.lower() not in _HARMLESS_OPTIONS and not _HARMLESS_OPTIONS.issuperset(_options(value)):
        raise GateRefused("Connection lists the name of a header")


def response_headers(headers: Head, *, upgrade: bool = False) -> Headers:
    """The headers of an upstream response that the client gets: all but one connection's own.

    Order, letter case and duplicates (`Warning`) stay. `Content-Length` passes; it is right for
    answers to HEAD, too.

    Args:
        headers: as received from the cluster.
        upgrade: this is the 101 of a tunnel; `Upgrade` passes.
    """
    dropped: frozenset[bytes] | set[bytes] = _HOP_BY_HOP
    kept = [header for header in headers if header[0].lower() not in dropped]
    if len(kept) == len(headers):
        return kept
    for name, value in headers:
        if name.lower() == b"connection":
            dropped = dropped.union(_options(value))
    if upgrade:
        dropped = dropped - {b"upgrade"}
    return [header for header in headers if header[0].lower() not in dropped]

"""What a request means to kube-apiserver: the value that the rest of the proxy decides on."""

from __future__ import annotations

import msgspec


class RequestInfo(msgspec.Struct, frozen=True, gc=False):
    """The attributes of a request, named as kube-apiserver's own `RequestInfo`.

    All strings can be encoded as UTF-8: a byte that is not UTF-8 reads `\\xNN`.
    """

    is_resource: bool
    """False for `/healthz`, discovery and everything else outside `/api/V/…` and `/apis/G/V/…`."""
    verb: str
    """`get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, `proxy`,
    empty for an unknown method; the lower-cased method when this is no resource request."""
    group: str
    version: str
    namespace: str
    resource: str
    subresource: str
    name: str
    parts: tuple[str, ...]
    """Everything from the resource on; deeper than the subresource lies a backend's own path."""
    field_selector: str
    label_selector: str
    path: str
    """The percent-decoded path, without the query."""


class InvalidRequest(ValueError):  # noqa: N818 - reads as what it is, where it is caught
    """A request that kube-apiserver itself refuses before it looks at permissions.

    Attributes:
        info: what could be understood before the error (kube-apiserver answers 500), or None when
            the target is no URL at all (Go's server answers 400).
    """

    def __init__(self, message: str, info: RequestInfo | None = None) -> None:
        super().__init__(message)
        self.info = info

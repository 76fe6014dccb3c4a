"""The stages of a call, each a type of its own.

A stage can only be built from the one before it, and `forward` takes only the last, so the type
checker proves that no call skips a step.
"""

import asyncio
from typing import TYPE_CHECKING

import msgspec

from proxy.authn.authenticate import Authenticated
from proxy.kube.impersonation import Identity
from proxy.kube.request_info import CallClass, RequestInfo
from proxy.upstream.cluster import Target

if TYPE_CHECKING:
    from proxy.gateway.connection import ClientConnection
    from proxy.gateway.record import CallRecord
    from proxy.gateway.request import Request


class Received(msgspec.Struct, frozen=True):
    """Step 1: a request, its connection and the record that follows it to its end."""

    connection: "ClientConnection"
    request: "Request"
    record: "CallRecord"


class Routed(msgspec.Struct, frozen=True):
    """Step 2: the cluster it names, and the target as the cluster shall see it."""

    received: Received
    cluster: str
    path: bytes
    """Path and query, byte for byte, without the prefix that chose the cluster."""


class Described(msgspec.Struct, frozen=True):
    """Step 3: what the call is."""

    routed: Routed
    info: RequestInfo
    call_class: CallClass
    upgrade: bool


class Identified(msgspec.Struct, frozen=True):
    """Step 4: who makes it."""

    described: Described
    who: Authenticated


class Authorized(msgspec.Struct, frozen=True):
    """Step 5: it may be made, there, as `identity`."""

    identified: Identified
    target: Target
    identity: Identity
    """Whom the cluster shall see: the user, or whom `--as` asked for and was allowed."""


class Cleared(msgspec.Struct, frozen=True):
    """Steps 6 and 7: the head that goes upstream, checked once more when finished."""

    authorized: Authorized
    headers: list[tuple[bytes, bytes]]


class Intended(msgspec.Struct, frozen=True):
    """Step 8: its intent is durable, or (for reads) on its way in the same batch."""

    cleared: Cleared
    intent: "asyncio.Future[int]"

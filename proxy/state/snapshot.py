"""The state as the data plane sees it: one immutable value, swapped whole.

A call takes the snapshot once, so identity, cluster and credential always come from the same
moment and are checked together.
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec

from proxy.state.access import NO_ACCESS, Access
from proxy.state.tokens import Token

NO_TOKENS: Mapping[str, Token] = MappingProxyType({})


def fingerprint_of(*values: object) -> int:
    """A number that is another one when any of the values is. JSON can hold it."""
    return int.from_bytes(hashlib.sha256(repr(values).encode()).digest()[:6])


class Usage(StrEnum):
    """What a credential may be used for; each listener accepts its own."""

    KUBECTL = "kubectl"
    """Calls to clusters, through the data plane."""
    ADMIN = "admin"
    """The control plane."""
    RENEW = "renew"
    """Only to obtain short-lived `kubectl` credentials (the exec plugin)."""


class Credential(msgspec.Struct, frozen=True):
    """A client certificate we issued."""

    serial: str
    """Lower-case hex without leading zeros, as recorded in events."""
    user: str
    groups: tuple[str, ...]
    clusters: tuple[str, ...]
    """Clusters it may reach; `*` means all."""
    usage: Usage
    issued_at: float
    not_after: float
    """Seconds since the epoch."""
    fingerprint: str
    """SHA-256 of the certificate's DER, lower-case hex."""
    issued_by: str = ""
    revoked_at: float | None = None
    revoked_reason: str = ""


class ClusterRecord(msgspec.Struct, frozen=True):
    """A registered cluster. The secret part of its credential stays encrypted in here."""

    name: str
    id: str
    """UUID; a cluster removed and added again under one name is another cluster."""
    server: str
    created_at: float
    sealed: bytes
    """The kubeconfig (YAML) with one context, encrypted with the data directory's key."""
    in_cluster: bool = False
    note: str = ""
    """Result of the last look at what our account may do there; empty when it is minimal."""

    @property
    def version(self) -> int:
        """Another number whenever anything of it changed: its ETag."""
        return fingerprint_of(self.id, self.server, self.sealed, self.in_cluster, self.note)


class Snapshot(msgspec.Struct, frozen=True):
    """All of it, at one moment."""

    version: int
    credentials: Mapping[str, Credential]
    """By serial."""
    clusters: Mapping[str, ClusterRecord]
    """By name."""
    access: Access = NO_ACCESS
    """Who exists, and what was granted to whom."""
    tokens: Mapping[str, Token] = NO_TOKENS
    """API tokens by id, without those that were revoked. Ones that expired may be among them."""
    server: str = ""
    """Which database it was read from: versions of another one count otherwise."""

    def reaches(self, credential: Credential, name: str) -> bool:
        """Whether a credential is for the cluster that has this name now.

        One that was removed and registered anew is another cluster: only credentials issued since
        then, or those for all clusters, reach it.
        """
        record = self.clusters.get(name)
        if record is None:
            return False
        if "*" in credential.clusters:
            return True
        return name in credential.clusters and record.created_at <= credential.issued_at


EMPTY = Snapshot(version=0, credentials=MappingProxyType({}), clusters=MappingProxyType({}))

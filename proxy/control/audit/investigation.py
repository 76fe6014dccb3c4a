"""What an investigation of a user shows: one page, all of it bounded.

Pure; `proxy.control.audit.investigating` collects it, and `kubewitness user investigate` prints it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from proxy.audit.index.rows import EVENT, Row
from proxy.audit.moments import write_moment
from proxy.clock import rfc3339
from proxy.control.people.credentials import CredentialItem
from proxy.state.sightings import Sighting

_MICROS: Final = 1_000_000
_ERROR: Final = 400


class AddressItem(msgspec.Struct, frozen=True, rename="camel"):
    """An address from which somebody used the user's credentials."""

    address: str
    network: str
    """The /24 or /64 (settings) it is in."""
    first_seen: str
    last_seen: str
    calls: int
    credentials: tuple[str, ...]
    """Serials that were used from there, and API tokens as `token ID`."""


class CallItem(msgspec.Struct, frozen=True, rename="camel"):
    """One call, or one administrative act, in short."""

    id: str
    """Audit ID."""
    at: str
    address: str
    credential: str
    cluster: str
    verb: str
    """Of an administrative act: its action."""
    resource: str
    """`pods/exec`, `deployments.apps`; of what is no resource, the path."""
    namespace: str
    name: str
    status: int | None
    """None while it goes on."""
    flags: tuple[str, ...] = ()
    """Words of `proxy.audit.flags.Flag`."""


class CommandItem(msgspec.Struct, frozen=True, rename="camel"):
    """The calls of one kubectl invocation; or those of one program from one address."""

    command: str
    """`kubectl get`; empty when the program does not say."""
    session: str
    tool: str
    address: str
    clusters: tuple[str, ...]
    first_seen: str
    last_seen: str
    calls: int
    failed: int


class ObjectItem(msgspec.Struct, frozen=True, rename="camel"):
    """An object, or a list of them when `name` is empty, and what was done to it."""

    cluster: str
    resource: str
    namespace: str
    name: str
    verbs: dict[str, int]
    """Calls by verb."""
    failed: int
    last_seen: str


class InvestigatedGrant(msgspec.Struct, frozen=True, rename="camel"):
    """A grant to the user, or to a group they are in."""

    id: str
    subject: str
    """`user alice`, `group dev`."""
    role: str
    scope: str
    """`organization`, `project/shop`, `cluster/prod`, `namespace/prod/web`."""
    status: str
    """`active`, `expired` or `revoked`."""
    created_at: str
    created_by: str
    reason: str
    expires_at: str = ""
    revoked_at: str = ""
    revoked_by: str = ""


class InvestigatedToken(msgspec.Struct, frozen=True, rename="camel"):
    """An API token of the user. There is no secret in it."""

    id: str
    permissions: tuple[str, ...]
    status: str
    """`active`, `expired` or `revoked`."""
    created_at: str
    created_by: str
    not_after: str


class Investigation(msgspec.Struct, frozen=True, rename="camel"):
    """Who the user is, what their credentials did since a moment, and how to end it."""

    user: str
    status: str
    """`active`, `disabled`, or `unregistered`."""
    kind: str
    """`person` or `service`; empty when unregistered."""
    groups: tuple[str, ...]
    """Memberships; of somebody unregistered, those in their standing credentials."""
    since: str
    calls: int
    """All since then, flagged and failed ones among them."""
    failed: int
    looked_at: int
    """Of them, newest first, how many the lists of commands and objects are made of."""
    complete: bool
    """False while the index has not caught up with the journal."""
    credentials: tuple[CredentialItem, ...]
    tokens: tuple[InvestigatedToken, ...]
    grants: tuple[InvestigatedGrant, ...]
    """Standing ones and those that ended."""
    addresses: tuple[AddressItem, ...]
    """The latest first; of all time."""
    flagged: tuple[CallItem, ...]
    """These and all below: the latest first."""
    denied: tuple[CallItem, ...]
    """Refused with 401 or 403, by us or by the cluster."""
    sessions: tuple[CallItem, ...]
    """exec, attach, port-forward and proxied connections."""
    commands: tuple[CommandItem, ...]
    objects: tuple[ObjectItem, ...]
    revoke: tuple[str, ...]
    """Commands to run, in this order: the first ends every access at once."""


def call_item(row: Row) -> CallItem:
    """A row of the index in short."""
    is_call = row.kind == EVENT
    return CallItem(
        id=row.audit_id,
        at=write_moment(row.received_at),
        address=row.source_ip,
        credential=row.credential,
        cluster=row.cluster,
        verb=row.verb if is_call else row.action,
        resource=_resource(row) or row.uri.partition("?")[0],
        namespace=row.namespace,
        name=row.name if is_call else row.target,
        status=row.code,
        flags=tuple(row.suspicious.split()),
    )


def addresses_of(
    seen: Iterable[Sighting], network: Callable[[str], str], most: int
) -> tuple[AddressItem, ...]:
    """Addresses of a user, the latest first, from what was seen of them and their credentials."""
    used: defaultdict[str, set[str]] = defaultdict(set)
    whole: list[Sighting] = []
    for one in seen:
        if one.credential:
            used[one.address].add(one.credential)
        else:
            whole.append(one)
    whole.sort(key=lambda one: -one.last_seen)
    return tuple(
        AddressItem(
            address=one.address,
            network=network(one.address),
            first_seen=rfc3339(one.first_seen),
            last_seen=rfc3339(one.last_seen),
            calls=one.calls,
            credentials=tuple(sorted(used[one.address])),
        )
        for one in whole[:most]
    )


def commands_of(rows: Iterable[Row], most: int) -> tuple[CommandItem, ...]:
    """The calls of each kubectl invocation as one; of other programs, by what and from where.

    `rows` come the latest first, and so do the commands.
    """
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        session = (row.session,) if row.session else ("", row.tool, row.command)
        found.setdefault((row.source_ip, *session), []).append(row)
    return tuple(map(_command, list(found.values())[:most]))


def objects_of(rows: Iterable[Row], most: int) -> tuple[ObjectItem, ...]:
    """What was touched, the latest first."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.resource:
            key = (row.cluster, row.namespace, _resource(row), row.name)
            found.setdefault(key, []).append(row)
    return tuple(_object(*key, rows=some) for key, some in list(found.items())[:most])


def _command(calls: list[Row]) -> CommandItem:
    latest = calls[0]
    return CommandItem(
        command=latest.command,
        session=latest.session,
        tool=latest.tool,
        address=latest.source_ip,
        clusters=tuple(sorted({call.cluster for call in calls if call.cluster})),
        first_seen=write_moment(min(call.received_at for call in calls)),
        last_seen=write_moment(max(call.received_at for call in calls)),
        calls=len(calls),
        failed=_failed(calls),
    )


def _object(
    cluster: str, namespace: str, resource: str, name: str, *, rows: list[Row]
) -> ObjectItem:
    verbs = Counter(row.verb for row in rows)
    return ObjectItem(
        cluster=cluster,
        resource=resource,
        namespace=namespace,
        name=name,
        verbs=dict(verbs.most_common()),
        failed=_failed(rows),
        last_seen=write_moment(max(row.received_at for row in rows)),
    )


def _resource(row: Row) -> str:
    """`pods/exec`, `deployments.apps`; empty of what is about no resource."""
    kind = f"{row.resource}.{row.api_group}" if row.resource and row.api_group else row.resource
    return f"{kind}/{row.subresource}" if kind and row.subresource else kind


def _failed(rows: Iterable[Row]) -> int:
    return sum(1 for row in rows if row.code is not None and row.code >= _ERROR)


def sightings_of(user: str, rows: Iterable[Row]) -> list[Sighting]:
    """What some of a user's calls say of where they came from."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        for credential in {"", row.credential}:
            found.setdefault((credential, row.source_ip), []).append(row.received_at / _MICROS)
    return [
        Sighting(user, credential, address, min(times), max(times), len(times))
        for (credential, address), times in found.items()
    ]

"""The one way to read and change the state. Each method is one transaction.

Every change raises `version` by one in the transaction that makes it, so a process that sees the
new version sees the change, and one that has seen it never works on an older state again.
"""

import contextlib
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import msgspec
from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from proxy.clock import Clock
from proxy.errors import ConflictError, InvalidInputError, NotFoundError, SettingsError
from proxy.files import create_private
from proxy.state import database, tables
from proxy.state.authorities import SharedAuthorities
from proxy.state.listening import Listening
from proxy.state.retention import Retentions
from proxy.state.sealing import SecretBox, key_of
from proxy.state.snapshot import ClusterRecord, Credential, Snapshot, Usage
from proxy.state.transactions import LIMIT, LONG_LIMIT, Transactions, translated

_CLUSTER_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_CREDENTIAL: Final = (
    tables.credentials.c.serial,
    tables.credentials.c.user,
    tables.credentials.c.groups,
    tables.credentials.c.clusters,
    tables.credentials.c.usage,
    tables.credentials.c.issued_at,
    tables.credentials.c.not_after,
    tables.credentials.c.fingerprint,
    tables.credentials.c.issued_by,
    tables.credentials.c.revoked_at,
    tables.credentials.c.revoked_reason,
)
_USAGES: Final = {usage.value: usage for usage in Usage}


class StateStore:
    """The state in its database. Used from one event loop; several processes may share it."""

    def __init__(self, engine: AsyncEngine, box: SecretBox, clock: Clock, url: str) -> None:
        self._engine = engine
        self._box = box
        self._clock = clock
        self._url = url
        self._transactions = Transactions(engine)
        self._reading = self._transactions.reading
        self._changing = self._transactions.changing
        self.retentions = Retentions(self._reading, self._changing, clock)
        self.authorities = SharedAuthorities(self._reading, self._changing, box, clock)

    @classmethod
    async def open(cls, url: str, box: SecretBox, *, clock: Clock) -> Self:
        """Connect to the database at `url`; SQLite's schema is brought up to date.

        Raises SettingsError for an unusable URL, a schema of another version, or secrets sealed
        with another key, UnavailableError when the database does not answer.
        """
        engine = database.connect(url)
        path = engine.url.database
        if engine.url.get_backend_name() == "sqlite" and path and path != ":memory:":
            _make_private(path)
        store = cls(engine, box, clock, url)
        try:
            with translated():
                await database.prepare(engine)
            if store.shared:
                await store._claim()
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Close every connection. The store is of no use afterwards."""
        await self._engine.dispose()

    @property
    def shared(self) -> bool:
        """Whether the state is on a server, where other replicas may change it."""
        return self._engine.dialect.name == "postgresql"

    def listening(self, heard: Callable[[], None]) -> Listening | None:
        """Something that calls `heard` after changes by any process, once started.

        None where the database tells nobody: then one has to look.
        """
        return Listening(self._url, heard) if self.shared else None

    async def version(self) -> int:
        """The number of the last change. One small read; made to be asked often."""
        async with self._reading() as (_, version):
            return version

    async def snapshot(self, previous: Snapshot | None = None) -> Snapshot:
        """The state as it is now, without credentials that had ended when they were read.

        With `previous` only what changed since then is read. Returns `previous` itself when
        nothing did.
        """
        limit = LIMIT if previous is not None else LONG_LIMIT
        async with self._reading(limit=limit) as (connection, version):
            if previous is not None and previous.version == version:
                return previous
            if previous is not None and previous.version < version:
                known = _copy(previous.credentials)
                newer = tables.credentials.c.changed > previous.version
            else:
                known = {}
                newer = tables.credentials.c.not_after > self._clock.now()
            rows = (await connection.execute(select(*_CREDENTIAL).where(newer))).all()
            records = await _clusters(connection, select(tables.clusters))
        known.update((item.serial, item) for item in _credentials(rows))
        return Snapshot(
            version=version,
            credentials=MappingProxyType(known),
            clusters=MappingProxyType({record.name: record for record in records}),
        )

    async def add_cluster(
        self, name: str, *, server: str, kubeconfig: bytes, in_cluster: bool = False, note: str = ""
    ) -> ClusterRecord:
        """Register a cluster; `kubeconfig` (YAML, one context) is sealed before it is stored.

        Raises InvalidInputError for an unusable name, ConflictError when it is taken.
        """
        check_cluster_name(name)
        identity = str(uuid.uuid4())
        record = ClusterRecord(
            name=name,
            id=identity,
            server=server,
            created_at=self._clock.now(),
            sealed=self._box.seal(identity, kubeconfig),
            in_cluster=in_cluster,
            note=note,
        )
        try:
            async with self._changing() as (connection, _):
                await connection.execute(
                    insert(tables.clusters).values(msgspec.structs.asdict(record))
                )
        except IntegrityError as error:
            raise ConflictError(
                f"There is a cluster {name!r} already.",
                hint="Remove it first, or choose another name.",
            ) from error
        return record

    async def remove_cluster(self, name: str) -> ClusterRecord:
        """Forget a cluster and its credential there. Raises NotFoundError."""
        async with self._changing() as (connection, _):
            record = await _cluster(connection, name)
            await connection.execute(delete(tables.clusters).where(tables.clusters.c.name == name))
        return record

    async def set_cluster_note(self, name: str, note: str) -> None:
        """Store the result of the last look at our account there. Raises NotFoundError.

        Writing what is there already changes nothing, the version included.
        """
        if (await self.cluster(name)).note == note:
            return
        async with self._changing() as (connection, _):
            await _cluster(connection, name)
            await connection.execute(
                update(tables.clusters).where(tables.clusters.c.name == name).values(note=note)
            )

    async def clusters(self) -> list[ClusterRecord]:
        """Every registered cluster, by name."""
        async with self._reading() as (connection, _):
            return await _clusters(connection, select(tables.clusters))

    async def cluster(self, name: str) -> ClusterRecord:
        """One cluster. Raises NotFoundError."""
        async with self._reading() as (connection, _):
            return await _cluster(connection, name)

    def kubeconfig(self, record: ClusterRecord) -> bytes:
        """The unsealed kubeconfig of a cluster. Raises SealError."""
        return self._box.unseal(record.id, record.sealed)

    async def record_credential(self, credential: Credential) -> None:
        """Record a credential that was issued; it is accepted from then on.

        Record first and hand the certificate out afterwards. Raises ConflictError when the serial
        is known, NotFoundError when one of its clusters is not.
        """
        values = msgspec.structs.asdict(credential)
        values["groups"] = msgspec.json.encode(credential.groups).decode()
        values["clusters"] = msgspec.json.encode(credential.clusters).decode()
        values["usage"] = credential.usage.value
        try:
            async with self._changing() as (connection, version):
                for name in credential.clusters:
                    if name != "*":
                        await _cluster(connection, name)
                await connection.execute(
                    insert(tables.credentials).values(values | {"changed": version})
                )
        except IntegrityError as error:
            raise ConflictError(f"Credential {credential.serial} is recorded already.") from error

    async def revoke(
        self, *, serial: str | None = None, user: str | None = None, reason: str = ""
    ) -> list[Credential]:
        """Revoke one credential by serial, or all of a user that have not ended.

        Returns those it revoked now; one revoked before keeps its time and reason. Raises
        NotFoundError for an unknown serial, InvalidInputError unless exactly one is given.
        """
        if (serial is None) == (user is None):
            raise InvalidInputError("Say which credential, or whose: a serial or a user, not both.")
        table, now = tables.credentials, self._clock.now()
        wanted = (
            table.c.serial == serial
            if serial is not None
            else (table.c.user == user) & (table.c.not_after > now)
        )
        async with self._changing() as (connection, version):
            found = _credentials(
                (await connection.execute(select(*_CREDENTIAL).where(wanted))).all()
            )
            if serial is not None and not found:
                raise NotFoundError(f"No credential has the serial {serial!r}.")
            await connection.execute(
                update(table)
                .where(wanted, table.c.revoked_at.is_(None))
                .values(revoked_at=now, revoked_reason=reason, changed=version)
            )
        return [
            msgspec.structs.replace(item, revoked_at=now, revoked_reason=reason)
            for item in found
            if item.revoked_at is None
        ]

    async def credentials(
        self,
        *,
        serial: str | None = None,
        user: str | None = None,
        ended: bool = False,
        limit: int = 1000,
    ) -> list[Credential]:
        """Credentials, newest first; with `ended` also those expired or revoked."""
        table = tables.credentials
        query = select(*_CREDENTIAL).order_by(table.c.issued_at.desc(), table.c.serial).limit(limit)
        if serial is not None:
            query = query.where(table.c.serial == serial)
        if user is not None:
            query = query.where(table.c.user == user)
        if not ended:
            query = query.where(table.c.not_after > self._clock.now(), table.c.revoked_at.is_(None))
        async with self._reading() as (connection, _):
            return _credentials((await connection.execute(query)).all())

    async def _claim(self) -> None:
        """Make sure that all replicas seal with one key. Raises SettingsError."""
        ours, meta = self._box.key_id, tables.meta.c.sealed_with
        async with self._reading() as (connection, _):
            found = (await connection.execute(select(meta))).scalar_one()
            records = await _clusters(connection, select(tables.clusters))
        wrong = {key for key in (found, *(key_of(item.sealed) for item in records)) if key} - {ours}
        if wrong:
            raise SettingsError(
                f"The secrets in the database are sealed with key {min(wrong)}, and {self._box.origin} holds key {ours}.",
                hint="Give every replica the state key of the first one: see `state_key_file`. If that "
                "key is lost: README, Secrets at rest.",
            )
        if not found:
            claim = update(tables.meta).where(meta == "").values(sealed_with=ours)
            async with self._transactions.changing(claim):
                pass
            await self._claim()  # another replica may have been faster


def check_cluster_name(name: str) -> None:
    """Refuse a name that cannot stand in a URL path and as a DNS label: InvalidInputError."""
    if not _CLUSTER_NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name!r} is not a cluster name.",
            hint="Use 1 to 63 lower-case letters, digits and hyphens, as in a DNS label.",
        )


async def _clusters(connection: AsyncConnection, query: Select[Any]) -> list[ClusterRecord]:
    rows = (await connection.execute(query.order_by(tables.clusters.c.name))).mappings()
    return [ClusterRecord(**row) for row in rows]


async def _cluster(connection: AsyncConnection, name: str) -> ClusterRecord:
    found = await _clusters(
        connection, select(tables.clusters).where(tables.clusters.c.name == name)
    )
    if not found:
        raise NotFoundError(
            f"There is no cluster {name!r}.",
            hint="`kubewitness cluster list` shows those there are.",
        )
    return found[0]


def _copy(credentials: Mapping[str, Credential]) -> dict[str, Credential]:
    # dict(proxy) looks every key up again: 20 ms for 100,000, on the event loop; this takes one.
    return credentials.copy() if isinstance(credentials, MappingProxyType) else dict(credentials)


def _credentials(rows: Iterable[Sequence[Any]]) -> list[Credential]:
    # Most credentials share few sets of groups and clusters: one tuple each, not 100,000.
    lists: dict[str, tuple[str, ...]] = {}

    def decoded(text: str) -> tuple[str, ...]:
        known = lists.get(text)
        if known is None:
            known = lists[text] = msgspec.json.decode(text, type=tuple[str, ...])
        return known

    return [
        Credential(serial, user, decoded(groups), decoded(clusters), _USAGES[usage], *rest)
        for serial, user, groups, clusters, usage, *rest in rows
    ]


def _make_private(path: str) -> None:
    # SQLite would create it with the umask; its journal takes over the mode of the file.
    with contextlib.suppress(FileExistsError):
        if not Path(path).exists():
            create_private(Path(path), b"")

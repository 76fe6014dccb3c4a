"""The one way to read and change the state. Each method is one transaction.

Every change raises `version` by one in the transaction that makes it, so a process that sees the
new version sees the change, and one that has seen it never works on an older state again.
"""

import contextlib
import re
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import msgspec
from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from proxy.clock import Clock
from proxy.errors import ConflictError, InvalidInputError, NotFoundError, SettingsError, not_found
from proxy.files import create_private
from proxy.state import credentials, database, granted, projects, tables, users
from proxy.state.access import Access
from proxy.state.api_tokens import Tokens
from proxy.state.authorities import SharedAuthorities
from proxy.state.change import Change, check_expected
from proxy.state.listening import Listening
from proxy.state.notes import Notes
from proxy.state.people import People
from proxy.state.postgres import server_of
from proxy.state.reading import read_access, read_tokens, read_version
from proxy.state.reconcilers import Reconcilers
from proxy.state.retention import Retentions
from proxy.state.rows import newest
from proxy.state.sealing import SecretBox, key_of
from proxy.state.sightings import Sightings
from proxy.state.snapshot import NO_TOKENS, ClusterRecord, Credential, Snapshot
from proxy.state.tokens import Token
from proxy.state.transactions import LONG_LIMIT, RAISE_ACCESS, Transactions, translated

_CLUSTER_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)


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
        self.people = People(self._transactions, clock)
        self.tokens = Tokens(
            self._reading, partial(self._transactions.changing, RAISE_ACCESS), clock
        )
        self.authorities = SharedAuthorities(self._reading, self._changing, box, clock)
        self.sightings = Sightings(self._reading, self._changing, clock, remote=self.shared)
        self.notes = Notes(self._changing, clock, remote=self.shared)
        self.reconcilers = Reconcilers(self._reading, self._changing, box, clock)

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
        if previous is not None and previous.version:
            async with self._reading() as (connection, version):
                if previous.server == await server_of(connection) and previous.version <= version:
                    if previous.version == version:
                        return previous
                    return await self._read(connection, version, previous)
            # An older one was restored, or a standby took over that lacks the last changes.
        async with self._reading(limit=LONG_LIMIT) as (connection, version):
            return await self._read(connection, version, None)

    async def _read(
        self, connection: AsyncConnection, version: int, previous: Snapshot | None
    ) -> Snapshot:
        now = self._clock.now()
        known = {} if previous is None else _copy(previous.credentials)
        newer = credentials.newer(now, None if previous is None else previous.version)
        known.update((item.serial, item) for item in await credentials.find(connection, newer))
        records = await _clusters(connection, select(tables.clusters))
        access, tokens = await _people(connection, now, previous)
        return Snapshot(
            version=version,
            credentials=MappingProxyType(known),
            clusters=MappingProxyType({record.name: record for record in records}),
            access=access,
            tokens=tokens,
            server=await server_of(connection),
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

    async def change_cluster(
        self,
        name: str,
        *,
        server: str,
        kubeconfig: bytes,
        in_cluster: bool = False,
        note: str = "",
        expected: int | None = None,
    ) -> tuple[ClusterRecord, ClusterRecord]:
        """Reach a cluster with another account; it stays the same cluster. Before and after.

        `expected` is the `version` of what the caller saw. Raises NotFoundError, PreconditionError.
        """
        async with self._changing() as (connection, _):
            before = await _cluster(connection, name)
            check_expected(f"Cluster {name!r}", before.version, expected)
            changed = {
                "server": server,
                "sealed": self._box.seal(before.id, kubeconfig),
                "in_cluster": in_cluster,
                "note": note,
            }
            table = tables.clusters
            await connection.execute(update(table).where(table.c.name == name).values(changed))
        return before, msgspec.structs.replace(before, **changed)

    async def remove_cluster(
        self, name: str, *, by: str = "", expected: int | None = None
    ) -> ClusterRecord:
        """Forget a cluster and its credential there. Raises NotFoundError, PreconditionError.

        Grants on it are revoked, and it leaves every project.
        """
        async with self._transactions.changing(RAISE_ACCESS) as (connection, version):
            change = Change(connection, version, self._clock.now())
            record = await _cluster(connection, name)
            check_expected(f"Cluster {name!r}", record.version, expected)
            await granted.end(
                change, tables.grants.c.cluster == name, by=by, reason=f"cluster {name} was removed"
            )
            await projects.leave(change, name)
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
        is known or the user disabled, NotFoundError when one of its clusters is not known.
        """
        values = credentials.row(credential)
        try:
            async with self._changing() as (connection, version):
                await users.refuse_disabled(connection, credential.user)
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
            table.c.serial == serial if serial is not None else credentials.of_user(user or "", now)
        )
        async with self._changing() as (connection, version):
            found = await credentials.find(connection, wanted)
            if serial is not None and not found:
                raise NotFoundError(f"No credential has the serial {serial!r}.")
            return await credentials.revoke(
                connection, found, wanted, now=now, version=version, reason=reason
            )

    async def credentials(
        self,
        *,
        serial: str | None = None,
        user: str | None = None,
        ended: bool = False,
        after: tuple[float, str] | None = None,
        limit: int = 1000,
    ) -> list[Credential]:
        """Credentials, newest first; with `ended` also those expired or revoked.

        `after` is where a page before ended: when that one was issued, and its serial.
        """
        table = tables.credentials
        query = select(*credentials.COLUMNS)
        if serial is not None:
            query = query.where(table.c.serial == serial)
        if user is not None:
            query = query.where(table.c.user == user)
        if not ended:
            query = query.where(table.c.not_after > self._clock.now(), table.c.revoked_at.is_(None))
        query = newest(query, table.c.issued_at, table.c.serial, after=after, limit=limit)
        async with self._reading() as (connection, _):
            return credentials.values((await connection.execute(query)).all())

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
        raise not_found("cluster", name)
    return found[0]


def _copy(credentials: Mapping[str, Credential]) -> dict[str, Credential]:
    # dict(proxy) looks every key up again: 20 ms for 100,000, on the event loop; this takes one.
    return credentials.copy() if isinstance(credentials, MappingProxyType) else dict(credentials)


async def _people(
    connection: AsyncConnection, now: float, previous: Snapshot | None
) -> tuple[Access, Mapping[str, Token]]:
    """Read only when any of it changed: credentials are renewed all the time."""
    if previous is None:
        access = await read_access(connection, now=now)
        return access, await read_tokens(connection, now=now, previous=NO_TOKENS, since=0)
    since = previous.access.version
    if await read_version(connection) == since:
        return previous.access, previous.tokens
    access = await read_access(connection, now=now, previous=previous.access)
    return access, await read_tokens(connection, now=now, previous=previous.tokens, since=since)


def _make_private(path: str) -> None:
    # SQLite would create it with the umask; its journal takes over the mode of the file.
    with contextlib.suppress(FileExistsError):
        if not Path(path).exists():
            create_private(Path(path), b"")

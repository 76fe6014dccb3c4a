"""Second accounts at clusters: those that keep RoleBindings in step, where somebody asked for that.

The account that calls go through may only impersonate. This one may only manage the RoleBindings of
grants, so each is of little use to whoever steals it.
"""

from typing import Final

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.clock import Clock
from proxy.errors import NotFoundError, not_found
from proxy.state import tables
from proxy.state.change import check_expected
from proxy.state.retention import Changing, Reading
from proxy.state.sealing import SecretBox
from proxy.state.snapshot import fingerprint_of

_PURPOSE: Final = "reconciler "


class ReconcilerRecord(msgspec.Struct, frozen=True):
    """One cluster whose RoleBindings are looked after."""

    cluster: str
    cluster_id: str
    """Of the cluster that had the name then; another one gets nothing of this account."""
    server: str
    sealed: bytes
    """The kubeconfig (YAML, one context) of the second account."""
    enforce: bool
    """Whether differences are mended; otherwise they are only reported."""
    created_at: float
    created_by: str

    @property
    def version(self) -> int:
        """Another number whenever anything of it changed: its ETag."""
        return fingerprint_of(self.cluster_id, self.sealed, self.enforce, self.created_at)


class Reconcilers:
    """The table of them; each change is one transaction of the state."""

    def __init__(self, reading: Reading, changing: Changing, box: SecretBox, clock: Clock) -> None:
        self._reading = reading
        self._changing = changing
        self._box = box
        self._clock = clock

    async def put(
        self,
        cluster: str,
        *,
        server: str,
        kubeconfig: bytes,
        enforce: bool,
        by: str,
        expected: int | None = None,
    ) -> ReconcilerRecord:
        """Have the RoleBindings of `cluster` looked after, in place of what was said before.

        `expected` is the `version` of what the caller saw. Raises NotFoundError when there is no
        such cluster, PreconditionError.
        """
        table = tables.reconcilers
        async with self._changing() as (connection, _):
            query = select(tables.clusters.c.id).where(tables.clusters.c.name == cluster)
            identity = (await connection.execute(query)).scalar_one_or_none()
            if identity is None:
                raise not_found("cluster", cluster)
            await _check(connection, cluster, identity, expected)
            record = ReconcilerRecord(
                cluster=cluster,
                cluster_id=identity,
                server=server,
                sealed=self._box.seal(_PURPOSE + identity, kubeconfig),
                enforce=enforce,
                created_at=self._clock.now(),
                created_by=by,
            )
            await connection.execute(delete(table).where(table.c.cluster == cluster))
            await connection.execute(insert(table).values(msgspec.structs.asdict(record)))
        return record

    async def remove(self, cluster: str, expected: int | None = None) -> ReconcilerRecord:
        """Look after it no more; what was made there stays. Raises NotFoundError, PreconditionError."""
        table = tables.reconcilers
        found = await self.find(cluster)
        async with self._changing() as (connection, _):
            await _check(connection, cluster, found.cluster_id, expected)
            await connection.execute(delete(table).where(table.c.cluster == cluster))
        return found

    async def find(self, cluster: str) -> ReconcilerRecord:
        """That of one cluster. Raises NotFoundError."""
        for record in await self.list():
            if record.cluster == cluster:
                return record
        raise NotFoundError(
            f"The RoleBindings of {cluster!r} are not looked after.",
            hint="`kubewitness cluster reconcile NAME --kubeconfig F` begins that.",
        )

    async def list(self) -> list[ReconcilerRecord]:
        """All, by cluster, of clusters that are still the same."""
        table, clusters = tables.reconcilers, tables.clusters
        query = (
            select(table)
            .join(clusters, clusters.c.id == table.c.cluster_id)
            .order_by(table.c.cluster)
        )
        async with self._reading() as (connection, _):
            rows = (await connection.execute(query)).mappings()
            return [ReconcilerRecord(**row) for row in rows]

    def kubeconfig(self, record: ReconcilerRecord) -> bytes:
        """The unsealed kubeconfig. Raises SealError."""
        return self._box.unseal(_PURPOSE + record.cluster_id, record.sealed)


async def _check(
    connection: AsyncConnection, cluster: str, identity: str, expected: int | None
) -> None:
    """Refuse to change what the caller has not seen as it is now: PreconditionError."""
    if expected is None:
        return
    table = tables.reconcilers
    query = select(table).where(table.c.cluster == cluster, table.c.cluster_id == identity)
    row = (await connection.execute(query)).mappings().one_or_none()
    version = ReconcilerRecord(**row).version if row is not None else 0
    check_expected(f"How the RoleBindings of {cluster!r} are looked after", version, expected)

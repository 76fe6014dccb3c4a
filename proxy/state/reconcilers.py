"""Second accounts at clusters: those that keep RoleBindings in step, where somebody asked for that.

The account that calls go through may only impersonate. This one may only manage the RoleBindings of
grants, so each is of little use to whoever steals it.
"""

from typing import Final

import msgspec
from sqlalchemy import delete, insert, select

from proxy.clock import Clock
from proxy.errors import NotFoundError, not_found
from proxy.state import tables
from proxy.state.retention import Changing, Reading
from proxy.state.sealing import SecretBox

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


class Reconcilers:
    """The table of them; each change is one transaction of the state."""

    def __init__(self, reading: Reading, changing: Changing, box: SecretBox, clock: Clock) -> None:
        self._reading = reading
        self._changing = changing
        self._box = box
        self._clock = clock

    async def put(
        self, cluster: str, *, server: str, kubeconfig: bytes, enforce: bool, by: str
    ) -> ReconcilerRecord:
        """Have the RoleBindings of `cluster` looked after, in place of what was said before.

        Raises NotFoundError when there is no such cluster.
        """
        table = tables.reconcilers
        async with self._changing() as (connection, _):
            query = select(tables.clusters.c.id).where(tables.clusters.c.name == cluster)
            identity = (await connection.execute(query)).scalar_one_or_none()
            if identity is None:
                raise not_found("cluster", cluster)
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

    async def remove(self, cluster: str) -> ReconcilerRecord:
        """Look after it no more; what was made there stays. Raises NotFoundError."""
        table = tables.reconcilers
        found = await self.find(cluster)
        async with self._changing() as (connection, _):
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

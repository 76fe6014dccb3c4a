"""`kubewitness audit retain run`, step by step: check everything, put it on record, remove."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import asyncpg

from proxy.audit.index.postgresql.removal import (
    ChangedError,
    Partition,
    partitions_before,
    records,
    remove,
)
from proxy.audit.index.postgresql.upgrade import acting_as_owner
from proxy.audit.index.retention import check
from proxy.audit.index.rows import micros
from proxy.audit.journal.archive import Archive
from proxy.cli.connection import path_of
from proxy.cli.output import say, write
from proxy.cli.progress import bars
from proxy.errors import ConflictError, KubewitnessError
from proxy.state.retention import LegalHold, holds_over

_CHECKED: Final = "partitions found in the archive"
_IN_FORCE: Final = """
    SELECT id, since, until, reason, placed_by, placed_at FROM kubewitness.legal_holds h
    WHERE NOT EXISTS (SELECT FROM kubewitness.legal_hold_releases x WHERE x.hold = h.id)
"""


class Recorder(Protocol):
    """Who puts it on record: the client of a control plane."""

    def post(self, path: str, body: Mapping[str, object]) -> object:
        """Raises KubewitnessError when it could not be recorded."""
        ...


class Removing:
    """One run: the approved proposal, and where its records must be found."""

    def __init__(
        self,
        recorder: Recorder,
        retention: dict[str, Any],
        archives: Sequence[Path],
        *,
        dry_run: bool,
    ) -> None:
        self._recorder = recorder
        self._retention = retention
        self._archives = archives
        self._dry_run = dry_run

    async def run(self, database: str) -> None:
        """Check, record, remove.

        Raises MissingRecordError when a record is not in the archive, ConflictError when the
        database has a rule against it; then nothing, or nothing more, was removed.
        """
        self._require_approval()
        async with acting_as_owner(database) as connection:
            before = micros(self._retention["before"])
            found = await partitions_before(connection, before)
            if not found:
                write("There is nothing that old.\n")
                return
            await _require_no_hold(connection, found)
            checked = await self._check(connection, found)
            if self._dry_run:
                say("Nothing was removed (--dry-run).")
                return
            self._tell("begin", {"archive": ", ".join(map(str, self._archives))}, found)
            await self._remove(connection, checked)

    def _require_approval(self) -> None:
        """Look before the archive is read, which may take hours; the database has the last word."""
        if self._retention.get("approved", True) or self._dry_run:
            return
        name = self._retention["id"]
        raise ConflictError(
            f"Retention {name} is not approved: so far by "
            f"{', '.join(self._retention['approvedBy']) or 'nobody'}.",
            hint=f"Two different administrators run `kubewitness audit retain approve {name}`.",
        )

    async def _check(self, connection: Any, found: Sequence[Partition]) -> dict[Partition, int]:  # noqa: ANN401  # asyncpg is untyped
        """Find every record in the archive; how many each partition has."""
        archive, checked = Archive(self._archives), dict[Partition, int]()
        with bars() as told:
            for number, partition in enumerate(found):
                told(_CHECKED, number, len(found))
                checked[partition] = (await check(records(connection, partition), archive)).records
        write(f"{sum(checked.values())} records in {len(found)} partitions are in the archive.\n")
        return checked

    async def _remove(self, connection: Any, checked: Mapping[Partition, int]) -> None:  # noqa: ANN401
        done: list[Partition] = []
        problem = "interrupted"
        try:
            for partition, count in checked.items():
                await remove(connection, partition, self._retention["id"], count)
                done.append(partition)
            problem = ""
        except ChangedError as error:
            problem = error.message
            raise
        except asyncpg.exceptions.PostgresError as error:
            problem = str(error).splitlines()[0]
            raise ConflictError(f"The database refuses: {problem}.") from error
        finally:
            count = sum(checked[partition] for partition in done)
            self._tell("end", {"records": count, "problem": problem[:500]}, done)
            write(f"Removed {count} records in {len(done)} partitions from the index.\n")

    def _tell(self, step: str, more: dict[str, Any], partitions: Sequence[Partition]) -> None:
        body = {"partitions": [partition.name for partition in partitions], **more}
        try:
            self._recorder.post(path_of("retentions", self._retention["id"], step), body)
        except KubewitnessError:
            if step == "begin":
                raise
            say("Warning: the outcome could not be recorded; its beginning is on record.")


async def _require_no_hold(connection: Any, found: Sequence[Partition]) -> None:  # noqa: ANN401
    """Look before the archive is read, as for the approval; the database has the last word here, too."""
    holds = [LegalHold(**row) for row in await connection.fetch(_IN_FORCE)]
    for partition in found:
        for hold in holds_over(holds, partition.low, partition.high):
            raise ConflictError(
                f"{partition.name} is kept by legal hold {hold.id} ({hold.reason}); nothing was "
                "removed.",
                hint="Release it with `kubewitness audit hold release`, or propose less.",
            )

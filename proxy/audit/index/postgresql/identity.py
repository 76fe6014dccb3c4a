"""Which server the records went to, remembered in the data directory across restarts.

A URL may lead to another server one day: an older copy, a test system, a standby that was promoted
by mistake. What was committed on the one before is not there, and the state with it may be old. So
another server counts as down until somebody accepts it (`kubewitness db accept-server`).
"""

import asyncio
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from proxy.errors import UnavailableError
from proxy.files import replace_private

_log = structlog.get_logger(__name__)


class Identity(NamedTuple):
    """A server, as `pg_control_system()` and `pg_control_checkpoint()` have it."""

    identifier: int
    """Of the database system, given by initdb; a file copy has the same."""
    timeline: int
    """Grows with each failover or restore; the older of two servers has the lower one."""


class _File(msgspec.Struct, rename="camel"):
    system_identifier: str
    """Decimal; more digits than a JSON number has everywhere."""
    timeline: int


class KnownServer:
    """The server of the last look: kept in `path`, or for as long as we live without one.

    Processes of one data directory share the file; who accepts another server writes it, too.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._kept: Identity | None = None

    async def get(self) -> Identity | None:
        """Which it was; None before the first. Raises UnavailableError when the file is damaged."""
        if self._path is not None and (found := await asyncio.to_thread(_read, self._path)):
            self._kept = found
        return self._kept

    async def keep(self, found: Identity) -> None:
        """From now on it is this one. A disk that takes no file keeps nobody from going on."""
        before, self._kept = self._kept, found
        if before is not None and before.timeline != found.timeline:
            _log.warning(
                "the database went on to a new timeline: a failover, or a restore",
                before=before.timeline,
                now=found.timeline,
            )
        if before == found:
            return
        try:
            await self._write(found)
        except OSError as error:
            self._kept = before  # and so it is written next time
            _log.warning("which database server it is cannot be kept", error=str(error))

    async def accept(self, found: Identity) -> None:
        """From now on it is this one, whatever it was. Raises UnavailableError from the disk."""
        try:
            await self._write(found)
        except OSError as error:
            raise UnavailableError(f"{self._path}: {error.strerror or error}.") from error
        self._kept = found

    async def _write(self, found: Identity) -> None:
        if self._path is not None:
            await asyncio.to_thread(replace_private, self._path, _written(found))


def _read(path: Path) -> Identity | None:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
        return Identity(int(found.system_identifier), found.timeline)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UnavailableError(
            f"{path} does not say which database server it was;"
            " see that it is the right one, then run `kubewitness db accept-server`.",
        ) from error


def _written(found: Identity) -> bytes:
    return msgspec.json.encode(_File(str(found.identifier), found.timeline)) + b"\n"

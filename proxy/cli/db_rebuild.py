"""`kubewitness db rebuild`: the index made anew from the journals, and compared with them."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.cli.output import say, write
from proxy.cli.progress import bars
from proxy.data_dir import DataDir
from proxy.errors import ConflictError, InvalidInputError
from proxy.settings import Settings, database_place, load

if TYPE_CHECKING:
    from proxy.runtime.rebuild import Compared


def register(app: typer.Typer) -> None:
    """Add the command to `kubewitness db`."""
    app.command(
        epilog="Examples:\n\n  kubewitness db rebuild --data-dir D\n\n"
        "  kubewitness db rebuild --data-dir D --journals /volumes/replica-2/journal\n\n"
        "  KUBEWITNESS_ADMIN_DATABASE=postgresql://postgres@db/audit kubewitness db rebuild --data-dir D"
    )(rebuild)


def rebuild(
    journals: Annotated[
        list[Path] | None,
        typer.Option(help="More directories with journals, as of other replicas; repeat it."),
    ] = None,
    admin_database: Annotated[
        str,
        typer.Option(
            envvar="KUBEWITNESS_ADMIN_DATABASE",
            help="URL of a database administrator; then blocks that hide records are made anew.",
            show_default=False,
        ),
    ] = "",
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            envvar="KUBEWITNESS_DATA_DIR",
            help="Data directory, whose settings name the database.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make the index anew from the journals, and compare it with them record by record.

    An embedded index is replaced, so `serve` must not run. In PostgreSQL what is missing is added
    and no record is taken away, while `serve` runs; what leads searches to the records is made
    again and compared, too.
    """
    from proxy import logs

    # What a person should know is said below; the parts log the rest.
    logs.configure("warning")
    settings = load({"data_dir": str(data_dir)} if data_dir is not None else {})
    data = DataDir(settings.data_dir)
    data.require()
    missing = [path for path in journals or [] if not path.is_dir()]
    if missing:
        raise InvalidInputError(f"There is no directory {missing[0]}.")
    if settings.database:
        asyncio.run(_recorded(settings, data, journals or [], admin_database))
        return
    if journals:
        raise InvalidInputError("--journals is for replicas that share a database.")
    with data.exclusively():
        asyncio.run(_recorded(settings, data, [], ""))


async def _recorded(settings: Settings, data: DataDir, more: list[Path], admin: str) -> None:
    """Rebuild it as an act on record, which fails unless the index holds what the journals do."""
    from proxy.runtime.local_acts import local_acts
    from proxy.runtime.rebuild import ACTION

    place = database_place(settings.database) if settings.database else data.index_database.name
    detail = {"journals": [str(path) for path in more]} if more else {}
    async with local_acts(data, settings).act(ACTION, place, detail) as told:
        if settings.database:
            compared, left = await _in_postgresql(settings.database, data, more, admin)
        else:
            compared, left = await _embedded(data), []
        told.update(records=compared.records, **_differences(compared), hidingBlocks=len(left))
        _require(compared, left)


def _differences(compared: "Compared") -> dict[str, int]:
    return {what: len(getattr(compared, what)) for what in ("missing", "different", "unknown")}


def _require(compared: "Compared", left: list[Any]) -> None:
    """Say how they compare; raise ConflictError unless they are the same."""
    write(f"{compared.records} records in the index, byte for byte as in the journals.\n")
    for what, count in _differences(compared).items():
        if count:
            writer, seq = getattr(compared, what)[0]
            say(f"{count} {what}, the first is {seq} of {writer}.")
    if not compared.equal:
        raise ConflictError("The index does not hold what the journals do.")
    if left:
        raise ConflictError(
            f"{len(left)} blocks hide records from searches.",
            hint="With KUBEWITNESS_ADMIN_DATABASE set, this command makes them anew.",
        )


async def _embedded(data: DataDir) -> "Compared":
    from proxy.runtime.rebuild import rebuild_sqlite

    with bars() as told:
        return await rebuild_sqlite(data, told)


async def _in_postgresql(
    url: str, data: DataDir, more: list[Path], admin: str
) -> tuple["Compared", list[Any]]:
    """What was compared, and the blocks that hide records still."""
    from proxy.audit.index.postgresql.identity import KnownServer
    from proxy.runtime.database import open_index
    from proxy.runtime.rebuild import fill_and_compare, look_at_blocks

    index = await open_index(url, KnownServer(data.database_server))
    try:
        with bars() as told:
            compared = await fill_and_compare(index, [data.journal, *more], told)
            found, left = await look_at_blocks(url, index, admin, told)
    finally:
        await index.close()
    for one in found:
        what = "false" if one in left else "made anew"
        say(f"Block {one.first} of {one.writer} hid records: {one.why}; {what}.")
    return compared, left

"""`kubewitness db rebuild`: the index made anew from the journals, and compared with them."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from proxy.cli.context import FormOption
from proxy.cli.db_compared import Report
from proxy.cli.output import Format
from proxy.cli.progress import bars
from proxy.data_dir import DataDir
from proxy.errors import InvalidInputError
from proxy.settings import Settings, database_place, load


def register(app: typer.Typer) -> None:
    """Add the command to `kubewitness db`."""
    app.command(
        epilog="Examples:\n\n  kubewitness db rebuild --data-dir D\n\n"
        "  kubewitness db rebuild --data-dir D --journals /volumes/replica-2/journal --all-journals -o json\n\n"
        "  KUBEWITNESS_ADMIN_DATABASE=postgresql://postgres@db/audit kubewitness db rebuild --data-dir D"
    )(rebuild)


def rebuild(
    journals: Annotated[
        list[Path] | None,
        typer.Option(help="More directories with journals, as of other replicas; repeat it."),
    ] = None,
    all_journals: Annotated[
        bool,
        typer.Option(
            "--all-journals",
            help="These are the journals of all who ever wrote: what none of them tells of is false.",
        ),
    ] = False,
    admin_database: Annotated[
        str,
        typer.Option(
            envvar="KUBEWITNESS_ADMIN_DATABASE",
            help="URL of a database administrator; then blocks that hide records are made anew.",
            show_default=False,
        ),
    ] = "",
    form: FormOption = Format.TABLE,
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

    Every record that is not what its journal says is named: the first 20, with `-o json` up to
    100,000, and how many more there are. Records whose journal is not given (another replica has
    it, or an archive) are counted by writer, and are no difference without `--all-journals`. The
    command fails when there is a difference, or a block that hides records is left.
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
        more = journals or []
        work = partial(
            _in_postgresql, settings.database, data, more, admin_database, all_journals=all_journals
        )
        asyncio.run(_recorded(settings, data, more, work, form))
        return
    if journals or all_journals:
        raise InvalidInputError(
            "--journals and --all-journals are for replicas that share a database."
        )
    with data.exclusively():
        asyncio.run(_recorded(settings, data, [], partial(_embedded, data), form))


async def _recorded(
    settings: Settings,
    data: DataDir,
    more: list[Path],
    work: Callable[[], Awaitable[Report]],
    form: Format,
) -> None:
    """Rebuild it as an act on record, which fails unless the index holds what the journals do."""
    from proxy.runtime.local_acts import local_acts
    from proxy.runtime.rebuild import ACTION

    place = database_place(settings.database) if settings.database else data.index_database.name
    detail = {"journals": [str(path) for path in more]} if more else {}
    async with local_acts(data, settings).act(ACTION, place, detail) as told:
        report = await work()
        told.update(report.recorded())
        report.tell(form)
        report.require()


async def _embedded(data: DataDir) -> Report:
    from proxy.runtime.rebuild import rebuild_sqlite

    with bars() as told:
        return Report(await rebuild_sqlite(data, told), [], [])


async def _in_postgresql(
    url: str, data: DataDir, more: list[Path], admin: str, *, all_journals: bool
) -> Report:
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
    return Report(compared, found, left, all_journals=all_journals)

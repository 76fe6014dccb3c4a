"""`kubewitness db`: the databases behind the proxy. The journals are the truth; these follow."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from proxy.cli import db_move, db_rebuild
from proxy.cli.context import FormOption
from proxy.cli.output import Column, Format, show, to_json, to_yaml, write
from proxy.data_dir import DataDir
from proxy.errors import ConflictError, InvalidInputError
from proxy.settings import load, read_database_url

app = typer.Typer(help="Set up and look after the database.", no_args_is_help=True)
db_move.register(app)
db_rebuild.register(app)

DirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="KUBEWITNESS_DATA_DIR",
        help="Data directory, whose settings name the database.",
        show_default=False,
    ),
]
_WRITERS: Final = (
    Column("writer", 12),
    Column("last", 6),
    Column("records", 6),
    Column("removed", 6),
    Column("missing", 6),
)


@app.command(
    epilog="Example:  KUBEWITNESS_ADMIN_DATABASE=postgresql://postgres@db/audit "
    "kubewitness db upgrade --login kubewitness"
)
def upgrade(
    database: Annotated[
        str,
        typer.Option(
            envvar="KUBEWITNESS_ADMIN_DATABASE",
            help="URL of a database administrator; better in the environment than as a flag.",
            show_default=False,
        ),
    ] = "",
    database_file: Annotated[
        Path | None,
        typer.Option(
            envvar="KUBEWITNESS_ADMIN_DATABASE_FILE",
            help="File that holds that URL, as a mounted secret does.",
            show_default=False,
        ),
    ] = None,
    login: Annotated[
        list[str] | None,
        typer.Option(help="Login that `serve` uses; it gets the right to add records. Repeat it."),
    ] = None,
) -> None:
    """Make or update the roles, tables and rights in PostgreSQL; run it again at any time.

    `serve` never has these rights. An embedded database needs no upgrade: `serve` does it.
    """
    from proxy.runtime import database as runtime
    from proxy.runtime.local_acts import person

    if database and database_file is not None:
        raise InvalidInputError("--database and --database-file are both set; keep one.")
    if database_file is not None:
        database = read_database_url(database_file)
    if not database:
        raise InvalidInputError(
            "Say as whom: KUBEWITNESS_ADMIN_DATABASE=postgresql://ADMIN@HOST/DATABASE",
            hint="The password is best in ~/.pgpass.",
        )
    asyncio.run(
        runtime.upgrade(database, login or [], lambda line: write(f"{line}\n"), actor=person())
    )


@app.command(epilog="Example:  kubewitness db status --count")
def status(
    count: Annotated[
        bool, typer.Option("--count", help="Count every record and say whether any is missing.")
    ] = False,
    form: FormOption = Format.TABLE,
    data_dir: DirOption = None,
) -> None:
    """Show how the database stands: whether it keeps records, and whose it has."""
    from proxy.audit.index.postgresql.identity import KnownServer
    from proxy.runtime import database as runtime

    settings = _settings(data_dir)
    url = settings.database
    if not url:
        DataDir(settings.data_dir).require()
        write(
            "The database is embedded (SQLite files in the data directory); `doctor` looks at it.\n"
        )
        return
    known = KnownServer(DataDir(settings.data_dir).database_server)
    found = asyncio.run(runtime.status(url, count=count, known=known))
    writers: list[dict[str, Any]] = [
        {
            "name": item.writer,
            "writer": item.writer,
            "last": item.last,
            "records": item.records,
            "removed": item.removed,
            "missing": item.gap,
        }
        for item in found.writers
    ]
    if form in (Format.JSON, Format.YAML):
        document = {
            "problem": found.problem,
            "server": found.server,
            "schema": found.schema,
            "partitions": found.partitions,
            "firstPartition": found.first,
            "lastPartition": found.last,
            "recordsEstimated": found.estimate,
            "locks": found.locks,
            "processesByLocks": found.processes,
            "writers": writers,
        }
        write(to_json(document) + "\n" if form is Format.JSON else to_yaml(document))
    else:
        write(f"{found.server}; schema {found.schema}\n")
        write(
            f"{found.partitions} partitions ({found.first} to {found.last}), "
            f"about {found.estimate} records\n"
        )
        write(f"processes of serve that there is room for locks of: {found.processes}\n")
        cells = [[_cell(item[column.title]) for column in _WRITERS] for item in writers]
        show(form, writers, _WRITERS, cells, empty="No writer has records there yet.")
    if found.problem:
        raise ConflictError(f"It counts as down: {found.problem}")
    if any((item["missing"] or 0) > 0 for item in writers):
        raise ConflictError(
            "Records are missing in the index.", hint="`kubewitness db rebuild` adds them."
        )


def _cell(value: object) -> str:
    return "" if value is None else str(value)


@app.command(epilog="Example:  kubewitness db accept-server --data-dir D")
def accept_server(data_dir: DirOption = None) -> None:
    """Accept the PostgreSQL server that the settings lead to now, when it is another than before.

    A proxy remembers in its data directory which server its records went to. Another one, or one
    that went back in time, counts as down until it is accepted: what was committed before may not
    be there, and revoked credentials may be valid again in its state. `serve` goes on by itself
    then, and ships what is missing from its journals. Each replica has a data directory of its own.
    """
    from proxy import logs
    from proxy.audit.index.postgresql.identity import KnownServer
    from proxy.runtime import database as runtime
    from proxy.runtime.local_acts import local_acts

    logs.configure("warning")  # what a person should know is said below
    settings = _settings(data_dir)
    data = DataDir(settings.data_dir)
    data.require()
    if not settings.database:
        raise InvalidInputError("The database is embedded; there is no server to accept.")
    known = KnownServer(data.database_server)
    acts = local_acts(data, settings)
    before, now = asyncio.run(runtime.accept_server(settings.database, known, acts))
    if before == now:
        write(f"It is the server we know: {runtime.named(now)}.\n")
        return
    if before is not None:
        write(f"Before: {runtime.named(before)}.\n")
    write(f"Accepted: {runtime.named(now)}.\n")


def _settings(data_dir: Path | None) -> Any:  # noqa: ANN401  # Settings
    return load({"data_dir": str(data_dir)} if data_dir is not None else {})

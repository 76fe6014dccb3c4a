"""`kubewitness db move`: from the embedded state to PostgreSQL."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from proxy.cli.output import write
from proxy.data_dir import DataDir
from proxy.settings import load


def register(app: typer.Typer) -> None:
    """Add the command to `kubewitness db`."""
    app.command(
        epilog="Example:  KUBEWITNESS_DATABASE=postgresql://kubewitness@db/audit "
        "kubewitness db move --data-dir D"
    )(move)


def move(
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            envvar="KUBEWITNESS_DATA_DIR",
            help="Data directory with the embedded state; its settings name the database.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Take clusters, credentials and holds from the embedded state to PostgreSQL.

    `serve` must not run, and the database must be as `db upgrade` leaves it, without a state of its
    own. Records follow by themselves: `serve` ships the journals, from their beginning on.
    """
    from proxy import logs
    from proxy.runtime.local_acts import person
    from proxy.runtime.moving import move_state

    logs.configure("warning")  # what a person should know is said below
    settings = load({"data_dir": str(data_dir)} if data_dir is not None else {})
    data = DataDir(settings.data_dir)
    data.require()
    with data.exclusively():
        moved = asyncio.run(move_state(settings, data, actor=person()))
    for table, rows in moved.items():
        write(f"{rows:6}  {table.replace('_', ' ')}\n")
    write(f"{data.state_database} is not used any more and stays as it is.\n")

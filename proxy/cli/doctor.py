"""`kubewitness doctor`: whether this data directory, and this machine, are fit to serve."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from proxy.cli.output import Column, Format, show
from proxy.cli.settings_flags import with_settings
from proxy.errors import InvalidInputError, KubewitnessError
from proxy.settings import Settings

if TYPE_CHECKING:
    from proxy.runtime.diagnosis import Finding

_COLUMNS: Final = (
    Column("status", 7),
    Column("check", whole=True),
    Column("finding", 20, wrap=True),
)
_PATIENCE: Final = 5.0
"""Seconds the health page may take."""
_MOST: Final = 64 * 1024
"""Bytes of it that are read."""
_FORMS: Final = (Format.TABLE, Format.JSON, Format.YAML)


def command(
    settings: Settings,
    form: Annotated[
        Format, typer.Option("-o", "--output", help="table, json or yaml.")
    ] = Format.TABLE,
) -> None:
    """Check the data directory, certificates, journal, disk, addresses, clock and clusters.

    The exit code is 1 when a check fails; warnings are not failures.
    """
    from proxy.clock import SystemClock
    from proxy.data_dir import DataDir
    from proxy.runtime.diagnosis import Status, diagnose

    if form not in _FORMS:
        raise InvalidInputError(
            f"doctor has no output form {form}.", hint="Use table, json or yaml."
        )
    findings = diagnose(settings, SystemClock())
    data = DataDir(settings.data_dir)
    if data.initialised and settings.database:
        findings.append(_database(settings))
    if data.initialised and data.in_use:
        findings.append(_audit(settings))
        findings += _clusters(settings)
    items = [
        {"check": item.check, "status": item.status, "message": item.message, "advice": item.advice}
        for item in findings
    ]
    rows = [
        (item.status, item.check, f"{item.message}. {item.advice}" if item.advice else item.message)
        for item in findings
    ]
    show(form, items, _COLUMNS, rows)
    if any(item.status is Status.FAILED for item in findings):
        raise typer.Exit(1)


def _database(settings: Settings) -> "Finding":
    """Look at PostgreSQL as `serve` will."""
    import asyncio

    from proxy.audit.index.postgresql.identity import KnownServer
    from proxy.data_dir import DataDir
    from proxy.runtime import database
    from proxy.runtime.diagnosis import Finding, Status

    known = KnownServer(DataDir(settings.data_dir).database_server)
    try:
        found = asyncio.run(database.status(settings.database, count=False, known=known))
    except KubewitnessError as error:
        return Finding("database", Status.FAILED, error.message, error.hint)
    if found.problem:
        return Finding("database", Status.FAILED, f"it counts as down: {found.problem}")
    if found.processes < settings.workers:
        return Finding(
            "database",
            Status.WARNING,
            f"with {found.partitions} partitions, processes of serve that there is room for locks of:"
            f" {found.processes}, and here alone are {settings.workers}",
            "Raise `max_locks_per_transaction`: docs/day-two.md, Locks.",
        )
    return Finding("database", Status.OK, f"{found.server}; schema {found.schema}")


def _audit(settings: Settings) -> "Finding":
    """Ask the running proxy's health page whether it can keep the record."""
    import http.client

    from proxy.runtime.diagnosis import Finding, Status, audit_state
    from proxy.settings import split_address

    host, port = split_address(settings.metrics)
    connection = http.client.HTTPConnection(
        {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host),  # noqa: S104  # ours, from here
        port,
        timeout=_PATIENCE,
    )
    try:
        connection.request("GET", "/readyz?verbose")
        return audit_state(connection.getresponse().read(_MOST).decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException) as error:
        return Finding(
            "audit",
            Status.WARNING,
            f"the health page on {settings.metrics} does not answer: {error}",
            "Give doctor the --metrics address that serve was given.",
        )
    finally:
        connection.close()


def _clusters(settings: Settings) -> "list[Finding]":
    """Ask the running proxy to look at each of its clusters."""
    from proxy.cli.client import Client
    from proxy.cli.connection import of_data_dir, path_of
    from proxy.runtime.diagnosis import Finding, Status

    try:
        client = Client(of_data_dir(settings.data_dir))
        names = [str(item["name"]) for item in client.get("/clusters")["items"]]
    except KubewitnessError as error:
        return [Finding("control-plane", Status.FAILED, error.message, error.hint)]
    findings = [Finding("control-plane", Status.OK, "answers")]
    for name in names:
        try:
            seen = client.post(path_of("clusters", name, "check"))
        except KubewitnessError as error:
            findings.append(Finding(f"cluster-{name}", Status.FAILED, error.message, error.hint))
            continue
        note = str(seen["note"])
        status = Status.WARNING if note else Status.OK
        message = note or f"{seen['server']} answers"
        advice = f"See `kubewitness cluster bootstrap {name}`." if note else ""
        findings.append(Finding(f"cluster-{name}", status, message, advice))
    return findings


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    decorated = with_settings(command, only=frozenset({"data_dir", "listen", "control", "metrics"}))
    app.command("doctor", epilog="Example:  kubewitness doctor --data-dir D -o json")(decorated)

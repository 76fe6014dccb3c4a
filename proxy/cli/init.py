"""`kubewitness init`: a data directory with everything that `serve` needs."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml

from proxy.audit.port import JournalUnavailableError
from proxy.cli import context
from proxy.cli.output import say
from proxy.cli.settings_flags import with_settings
from proxy.cli.settings_table import rows, template
from proxy.data_dir import DataDir
from proxy.errors import ConflictError, InvalidInputError, KubewitnessError, UnavailableError
from proxy.files import create_private, replace_private
from proxy.settings import MIB, Settings, load

_ASKED: Final = frozenset({"data_dir", "listen", "control", "metrics", "tls.names"})
_SHARED: Final = frozenset(
    {"database", "database_file", "state_key_file", "tls.ca_cert_file", "tls.ca_key_file"}
)
"""What replicas have in common; in the settings file where it is given."""


def command(
    settings: Settings,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Make a further replica of the proxy whose data directory (or a copy of its "
            "settings file and pki/) is DIR: same settings, authority, state key and database.",
            show_default=False,
        ),
    ] = None,
    container: Annotated[
        bool,
        typer.Option(
            "--container",
            help="For a pod, whose environment says the settings at each start: none is kept in "
            "the settings file, and ~/.config/kubewitness is left alone.",
        ),
    ] = False,
) -> None:
    """Make a data directory: authority, keys, state, settings file, and your admin credential.

    Run it again at any time: it says what is there and changes nothing.
    """
    data = DataDir(settings.data_dir)
    if data.initialised:
        data.require()
        say_present(data, settings)
        return
    from proxy import logs

    # What a person should know is said below; the parts log the rest.
    logs.configure("warning")
    if container:
        if like is not None:
            raise InvalidInputError("--container and --like exclude each other.")
        initialise(settings, None)
        say(f"Initialised {data.path}")
        return
    if like is None:
        initialise(settings)
    else:
        settings = initialise_like(DataDir(like), settings)
    path = add_context(data, settings)
    say_made(data, path)


def initialise(settings: Settings, names: frozenset[str] | None = frozenset()) -> None:
    """Everything but the person's context file. Raises KubewitnessError.

    The settings file holds the values of `names` too, besides those everybody looks for; with None
    it holds no values at all.
    """
    data = DataDir(settings.data_dir)
    with _all_or_nothing(data, settings):
        _make(data, settings, names)


def _make(data: DataDir, settings: Settings, names: frozenset[str] | None) -> None:
    asyncio.run(_fill(settings, data))
    chosen = {} if names is None else _chosen(settings, names)
    # Last: its presence says that all of it is there.
    create_private(data.settings, template(chosen).encode())


@contextlib.contextmanager
def _all_or_nothing(data: DataDir, settings: Settings) -> Iterator[None]:
    """Make the directory for what is made within, and take both back if that fails.

    Left there, it would fill a disk that has no room for it. What was there before stays. Nobody
    else may be at it at the same time: ConflictError.
    """
    there = data.path.exists()
    before = set(data.path.iterdir()) if data.path.is_dir() else set()
    data.create()
    with data.exclusively():
        try:
            yield
        except (KubewitnessError, OSError) as error:
            for path in set(data.path.iterdir()) - before:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            if not there:
                data.path.rmdir()
            if isinstance(error, KubewitnessError) and not isinstance(
                error, JournalUnavailableError
            ):
                raise
            raise _too_small(data, settings, error) from error


def _too_small(data: DataDir, settings: Settings, error: Exception) -> UnavailableError:
    """A disk's failure, and how much room is needed."""
    why = error.strerror if isinstance(error, OSError) else str(error)
    need = (settings.journal.segment_bytes + settings.journal.reserve_bytes) // MIB
    return UnavailableError(
        f"{data.path} cannot hold a journal: {why}.",
        hint=f"It needs {need} MiB to begin with (`journal.segment_bytes` and "
        "`journal.reserve_bytes`); nothing was left there.",
    )


def initialise_like(origin: DataDir, settings: Settings) -> Settings:
    """The same for a replica of the proxy in `origin`; returns its settings."""
    from proxy.runtime.replica import copy_secrets, settings_like

    settings, names = settings_like(origin, settings)
    data = DataDir(settings.data_dir)
    with _all_or_nothing(data, settings):
        copy_secrets(origin, data, settings)
        _make(data, settings, names)
    return settings


async def _fill(settings: Settings, data: DataDir) -> None:
    from proxy.runtime.initialise import fill
    from proxy.runtime.local_acts import person

    await fill(settings, data, actor=person())


def _chosen(settings: Settings, names: frozenset[str]) -> dict[str, object]:
    """What stands in the file: the addresses and names, because people look for them there."""
    found: dict[str, object] = {}
    for row in rows():
        if row.name not in _ASKED | _SHARED | names or row.path == ("data_dir",):
            continue
        if row.name == "database" and settings.database_file is not None:
            continue  # it was read from there, and is read again
        value: Any = settings
        for part in row.path:
            value = getattr(value, part)
        if row.name not in _SHARED or value:
            found[row.name] = value
    return found


def add_context(data: DataDir, settings: Settings) -> Path | None:
    """Let commands without --data-dir find this proxy; the file's path, or None if it had it.

    The key stays in the data directory; the entry only says where that is. An entry of that name
    for another directory is left alone, and ours gets a number. One of this directory, of a former
    proxy there, gets our address.
    """
    path = context.default_path()
    contexts = context.load(path)
    here = data.path.absolute()
    server = f"https://{settings.control}"
    ours = {name: item for name, item in contexts.entries.items() if item.data_dir == here}
    if any(item.server == server for item in ours.values()):
        return None
    base = name = here.name
    number = 1
    while name in contexts.entries:
        number += 1
        name = f"{base}-{number}"
    document = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    document = document or {}
    if ours:
        for entry in document["contexts"]:
            if entry["name"] in ours:
                entry["server"] = server
    else:
        document.setdefault("contexts", []).append(
            {"name": name, "server": server, "data-dir": str(here)}
        )
    document["current-context"] = document.get("current-context") or name
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_private(path, yaml.safe_dump(document, sort_keys=False).encode())
    except OSError as error:
        raise ConflictError(
            f"{path} cannot be written: {error.strerror or error}.",
            hint=f"The data directory is ready; give commands --data-dir {data.path}.",
        ) from error
    return path


def say_made(data: DataDir, contexts: Path | None) -> None:
    """What was made, and what to do next."""
    say(f"Initialised {data.path}")
    say("  pki/                  certificate authority and keys; back it up, keep it private")
    say("  kubewitness.yaml      every setting with its default")
    say("  admin/context.yaml    admin credential for commands on this machine")
    if contexts is not None:
        say(f"  {contexts}  names this proxy, so that commands find it")
    say("Next:")
    say(f"  kubewitness serve --data-dir {data.path}")
    say(f"  kubewitness cluster add NAME --kubeconfig FILE --data-dir {data.path}")


def say_present(data: DataDir, given: Settings) -> None:
    """That there is nothing to do, and where to change what was asked for and is not so."""
    say(f"{data.path} is initialised already; nothing was changed.")
    present = _chosen(load({"data_dir": data.path}), frozenset())
    asked = _chosen(given, frozenset())
    for name in sorted(name for name in asked if asked[name] != present.get(name)):
        say(f"  {name} stays as it is; {data.settings} is where to change it.")
    say(f"Start it with `kubewitness serve --data-dir {data.path}`.")


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command(
        "init",
        epilog="Example:  kubewitness init --data-dir D --tls-names proxy.example.com\n\n"
        "Replica:  kubewitness init --data-dir E --like D",
    )(with_settings(command, only=_ASKED | _SHARED))

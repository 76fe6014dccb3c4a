"""A further replica: a data directory that shares what replicas must share, and nothing else.

Replicas of one proxy trust one authority, open each other's secrets and use one database. Each has
its own identity, journals and certificates of its own; those are never copied: two directories
that write under one identity would contradict each other.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from proxy.data_dir import DataDir
from proxy.errors import ConflictError, SettingsError
from proxy.files import create_private
from proxy.settings import Settings, load


def settings_like(origin: DataDir, own: Settings) -> tuple[Settings, frozenset[str]]:
    """The settings of a replica of `origin`: `own` where set, the rest as its settings file says.

    Also the names (`tls.names`) of what that file sets. Raises SettingsError when the file cannot
    be read or names no database that replicas could share.
    """
    if not origin.initialised:
        origin.require()  # says why not; a copy that cannot be written is good enough
    try:
        document = yaml.safe_load(origin.settings.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{origin.settings}: cannot be read: {error}") from error
    given = own.model_dump(exclude_unset=True)
    if own.database_file is not None:
        # What was read from it stays there.
        given.pop("database", None)
        document.pop("database", None)
    elif own.database:
        document.pop("database_file", None)
    merged = _merged(document, given)
    found = load(merged)
    if not found.database:
        raise SettingsError(
            "database: replicas share one, and none is given.",
            hint=f"Move {origin.path} to a PostgreSQL first (README, Replicas), and name it here.",
        )
    return found, frozenset(_names(document))


def copy_secrets(origin: DataDir, data: DataDir, settings: Settings) -> None:
    """Bring the authority and the state's key of `origin` to `data`; what settings name stays.

    Raises ConflictError when `data` has others already, SettingsError when `origin` lacks them.
    """
    wanted = [] if settings.tls.ca_cert_file else ["ca.crt", "ca.key"]
    if settings.state_key_file is None:
        wanted.append(origin.state_key.name)
    for name in wanted:
        if not (origin.pki / name).is_file():
            raise SettingsError(
                f"{origin.pki / name} is missing.", hint="Name the directory of a proxy that works."
            )
    former = sorted(path.name for path in origin.pki.glob("ca-old-*"))
    for name in dict.fromkeys([*wanted, *former]):
        _copy(origin.pki / name, data.pki / name)


def _copy(source: Path, target: Path) -> None:
    content = source.read_bytes()
    with contextlib.suppress(FileExistsError):
        create_private(target, content)
        return
    if target.read_bytes() != content:
        raise ConflictError(
            f"{target} is there already and differs from {source}.",
            hint="Start a replica in a directory of its own.",
        )


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in below.items() if value is not None}
    for name, value in above.items():
        under = found.get(name)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        found[name] = _merged(under, value) if both else value  # type: ignore[arg-type]
    return found


def _names(document: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{above}{name}.")
        elif value is not None:
            yield above + name

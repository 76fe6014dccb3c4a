"""`kubewitness audit export`: the log as a file, whole or not at all."""

import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from proxy.cli.audit_filter import Query
from proxy.cli.audit_pages import size
from proxy.cli.connection import connect
from proxy.cli.context import DataDirOption, ViaOption
from proxy.cli.output import say, visible, write
from proxy.errors import InvalidInputError, KubewitnessError, UnavailableError


class ExportFormat(StrEnum):
    """Forms of an export."""

    NDJSON = "ndjson"
    CSV = "csv"


def export(
    query: Query,
    form: Annotated[
        ExportFormat, typer.Option("-o", "--output", help="ndjson or csv.")
    ] = ExportFormat.NDJSON,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="File to write, readable by you only; default: stdout."),
    ] = None,
    incomplete: Annotated[
        bool,
        typer.Option("--incomplete", help="Also while the index lacks events that are on record."),
    ] = False,
    data_dir: DataDirOption = None,
    via: ViaOption = None,
) -> None:
    """Export all calls that match, oldest first."""
    wanted = query | {"format": form.value}
    if incomplete:
        wanted["incomplete"] = True
    chunks = connect(data_dir, via).chunks("/audit/export", wanted)
    if file is not None:
        _save(file.expanduser(), chunks)
        return
    if sys.stdout.isatty():
        for line in _lines(chunks):
            write(visible(line.decode("utf-8", "backslashreplace")) + "\n")
        return
    for chunk in chunks:
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def _save(path: Path, chunks: Iterator[bytes]) -> None:
    import tempfile

    written = 0
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror or error}.") from error
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            for chunk in chunks:
                out.write(chunk)
                written += len(chunk)
        temporary.replace(path)  # a broken-off export never looks like a whole one
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UnavailableError(f"{path} cannot be written: {error.strerror or error}.") from error
    except (KubewitnessError, KeyboardInterrupt):
        temporary.unlink(missing_ok=True)
        raise
    say(f"Wrote {path}: {size(written)}.")

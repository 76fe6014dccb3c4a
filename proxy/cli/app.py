"""The root of the command line: its global options, and how errors look."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from proxy import __version__
from proxy.cli.nouns import HELP, Nouns
from proxy.errors import KubewitnessError

app = typer.Typer(
    name="kubewitness",
    cls=Nouns,
    help="A Kubernetes API proxy that records every call and can prove it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": HELP},
)

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
BROKEN_PIPE = 141


def _version(value: bool) -> None:
    if value:
        typer.echo(f"kubewitness {__version__}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error happened (traceback).")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of every command."""
    del debug, version  # `run` looks for --debug itself: it must work when parsing fails, too


def run(arguments: list[str] | None = None) -> int:
    """Run a command line; the exit code. Errors become one readable line on stderr."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        app(given, prog_name="kubewitness")
    except SystemExit as end:
        # How typer ends, after it has shown help or what is wrong with the arguments.
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KubewitnessError as error:
        if "--debug" in given:
            raise
        _show(error.message, error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader left (`… | head`). Nothing more may be written, not even at exit.
        sys.stdout = None
        return BROKEN_PIPE
    except OSError as error:
        if "--debug" in given:
            raise
        # A full disk, a file that may not be read: nothing of ours is wrong.
        where = f"{error.filename}: " if error.filename else ""
        _show(f"{where}{error.strerror or error}", "Repeat with --debug to see where.")
        return 1
    except Exception as error:
        if "--debug" in given:
            raise
        _show(
            f"{type(error).__name__}: {error}", "This is a bug; repeat with --debug to see where."
        )
        return 1
    return 0


def _show(message: str, hint: str) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print("[bold red]error:[/]", end=" ")
    console.print(message.rstrip(".") + ("." if hint else ""), markup=False, end="")
    console.print(f" {hint}" if hint else "", markup=False, style="dim")

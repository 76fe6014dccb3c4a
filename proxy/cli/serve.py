"""`kubewitness serve` and the hidden `worker` it starts."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli.output import say
from proxy.cli.settings_flags import with_settings
from proxy.data_dir import DataDir
from proxy.errors import InvalidInputError
from proxy.settings import Settings

if TYPE_CHECKING:
    from proxy.runtime.serve import Started


def command(settings: Settings) -> None:
    """Run the proxy: data plane, control plane, indexer and metrics, until SIGTERM or Ctrl-C.

    The first signal lets calls under way end for `drain_timeout` seconds, the second cuts them.
    """
    DataDir(settings.data_dir).require()
    choose_metrics(settings)

    import uvloop

    from proxy import logs
    from proxy.runtime.serve import serve

    logs.configure(settings.log.level, settings.log.format)
    uvloop.run(serve(settings, lambda started: say_started(started, settings)))


def choose_metrics(settings: Settings) -> None:
    """Decide where metric values live. Must come before anything imports prometheus-client."""
    from proxy.runtime import multiprocess

    if settings.workers == 1:
        multiprocess.alone()
        return
    multiprocess.share(multiprocess.place(DataDir(settings.data_dir).run))


def say_started(started: "Started", settings: Settings) -> None:
    """The start-up block, for people; everything after it is log."""
    where = _short(started.data_dir)
    clusters = ", ".join(started.clusters) or (
        f"none yet: kubewitness cluster add NAME --kubeconfig FILE --data-dir {where}"
    )
    processes = "1 process" if started.workers == 1 else f"{started.workers} worker processes"
    for line in (
        "kubewitness is ready",
        f"  kubectl and friends   https://{started.data_plane}   ({processes})",
        f"  control plane         https://{started.control}",
        f"  metrics and health    http://{started.metrics}/metrics  /livez  /readyz",
        f"  data directory        {where}",
        f"  journal               {where}/journal",
        f"  index                 {started.index}",
        f"  clusters              {clusters}",
    ):
        say(line)


def _short(path: Path) -> str:
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def worker(slot: Annotated[str, typer.Argument(help="Journal slot.")]) -> None:
    """One process of the data plane. Started by `serve`, which writes its settings to stdin."""
    line = sys.stdin.buffer.readline()
    if not line:
        raise InvalidInputError("`worker` is started by `kubewitness serve`, not by hand.")
    settings = Settings.model_validate_json(line)

    import uvloop

    from proxy.runtime.worker import work

    uvloop.run(work(slot, settings))


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.command("serve", epilog="Example:  kubewitness serve --data-dir D --workers 2")(
        with_settings(command)
    )
    app.command("worker", hidden=True)(worker)

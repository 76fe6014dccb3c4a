"""`kubewitness demo`: the whole product on this machine, in one process, in the foreground.

Nothing outside the state directory is written, and without --context nobody's kubeconfig is read.
"""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from proxy.cli.output import visible, write
from proxy.settings import Settings

DIRECTORY: Final = Path(".demo")
KUBECTL_HINT: Final = (
    "Install it as https://kubernetes.io/docs/tasks/tools says, or with this product: "
    "the extra `kubectl`, as in `pip install 'kubewitness[kubectl]'`."
)
_SANDBOX_TRIES: Final = (
    ("{kubectl} --namespace shop get pods", "a look"),
    ("{kubectl} --namespace shop exec deploy/web -- ls", "a command in a pod"),
    ("{kubectl} --namespace shop scale deployment web --replicas 3", "a change"),
)
_CONTEXT_TRIES: Final = (
    ("{kubectl} get namespaces", "a list"),
    ("{kubectl} get pods --all-namespaces", "another"),
    ("{kubectl} auth whoami", "who the cluster sees"),
)


def command(
    context: Annotated[
        str,
        typer.Option(
            "--context", help="Put the proxy in front of this context of your own kubeconfig."
        ),
    ] = "",
    state: Annotated[
        Path, typer.Option("--state-dir", help="Where the demo keeps its state.")
    ] = DIRECTORY,
) -> None:
    """Try it: a proxy, and a sandbox cluster behind it, until Ctrl-C."""
    from proxy.cli.demo_state import DemoState

    remembered = DemoState.load(state)
    settings = remembered.settings()

    from proxy.cli.serve import choose_metrics

    choose_metrics(settings)

    import uvloop

    from proxy import logs
    from proxy.cli.demo_run import run

    logs.configure(settings.log.level, settings.log.format)
    uvloop.run(run(remembered, settings, context))


def say_ready(kubeconfig: Path, settings: Settings, *, context: str, group: str) -> None:
    """What to do now: lines that work as they stand in another terminal, here."""
    kubewitness, data_dir = program("kubewitness"), quoted(short(settings.data_dir))
    tries = _CONTEXT_TRIES if context else _SANDBOX_TRIES
    front = f"your context {context}" if context else "a sandbox cluster"
    lines = [
        f"kubewitness is in front of {front}, on https://{settings.listen}. You are alice.",
        "",
        "In another terminal, in this directory:",
        "",
        f"export KUBECONFIG={quoted(str(kubeconfig.absolute()))}",
        "",
    ]
    kubectl = program("kubectl")
    commands = [(text.format(kubectl=kubectl), about) for text, about in tries]
    width = max(len(text) for text, _ in commands)
    lines += [f"{text:{width}}  # {about}" for text, about in commands]
    if not present("kubectl"):
        lines += ["", f"kubectl is not here. {KUBECTL_HINT}"]
    lines += ["", "Each of them shows up, durably, in:", ""]
    lines += [f"{kubewitness} audit search --data-dir {data_dir} --user alice"]
    lines += [f"{kubewitness} audit tail -f --data-dir {data_dir}"]
    if context:
        lines += [
            "",
            f"alice and her group {group} have no rights of their own in your cluster. To give some:",
            "",
            " ".join(
                (
                    f"{kubectl} --kubeconfig {quoted(str(own_kubeconfig()))} --context {quoted(context)}",
                    f"create clusterrolebinding kubewitness-demo --clusterrole view --group {group}",
                )
            ),
        ]
    lines += ["", "Ctrl-C ends it; the record stays for the next start.", ""]
    write("".join(f"{visible(line)}\n" for line in lines))


def own_kubeconfig() -> Path:
    """The person's own kubeconfig: the first of KUBECONFIG, or ~/.kube/config, as kubectl has it."""
    from proxy.environment import variable

    given = [part for part in variable("KUBECONFIG").split(":") if part]
    return Path(given[0]) if given else Path.home() / ".kube" / "config"


def present(name: str) -> bool:
    """Whether a program is on the path, or beside this interpreter."""
    return bool(shutil.which(name)) or Path(sys.executable).with_name(name).exists()


def program(name: str) -> str:
    """How to call a program from here: by name, or by the path beside this interpreter."""
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if found and (name != "kubewitness" or Path(found).resolve() == beside.resolve()):
        return name
    return quoted(short(beside)) if beside.exists() else name


def short(path: Path) -> str:
    """A path as one would write it here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def quoted(text: str) -> str:
    """A word for the shell."""
    import shlex

    return shlex.quote(text)


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command("demo", epilog="Example:  kubewitness demo --context kind-dev")(command)

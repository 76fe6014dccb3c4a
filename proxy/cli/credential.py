"""`kubewitness credential exec`: the kubectl plugin behind self-renewing kubeconfigs.

kubectl starts it before a command when it holds no certificate, so the usual way out is the cache:
one small file, and nothing imported that is not needed. At 80 % of a certificate's life a new one
is fetched; when the server does not answer then, the present one serves until it ends.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from proxy.clock import SystemClock
from proxy.environment import variable
from proxy.errors import DeniedError, InvalidInputError, UnavailableError

app = typer.Typer(help="Certificates for kubectl, fetched as needed.", no_args_is_help=True)

RENEW_AT: Final = 0.8
"""Part of a certificate's life after which a new one is fetched."""
_MARGIN: Final = 5.0
"""Seconds before its end in which a certificate is not handed out any more."""


@app.command(
    "exec", epilog="kubectl runs it; `kubewitness kubeconfig issue … --exec` writes the kubeconfig."
)
def exec_plugin(
    config: Annotated[
        Path, typer.Option("--config", help="The .renew.yaml file beside the kubeconfig.")
    ],
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            help="Directory of cached certificates.",
            envvar="KUBEWITNESS_CACHE",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print a certificate for kubectl (client.authentication.k8s.io/v1 ExecCredential)."""
    from proxy.pki.exec_credential import ENVIRONMENT, check_exec_info, exec_credential

    check_exec_info(variable(ENVIRONMENT) or None)
    content = _read(config)
    directory = cache or Path.home() / ".cache" / "kubewitness" / "credentials"
    # By content: a kubeconfig that was issued anew never gets its predecessor's certificate.
    file = directory / f"{hashlib.sha256(content).hexdigest()[:32]}.json"
    held = _held(file)
    if held is None or SystemClock.now() >= held["renewAt"]:
        with _alone(file):
            held = _renewed(config, content, file)
    typer.echo(
        # Long-lived clients ask again after this moment.
        exec_credential(held["certificate"].encode(), held["key"].encode(), held["renewAt"])
    )


def _read(config: Path) -> bytes:
    try:
        return config.read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"{config} cannot be read: {error.strerror or error}.",
            hint="The kubeconfig and this file belong together; get both again.",
        ) from error


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """One at a time: of many kubectls started at once, the first renews for all."""
    import fcntl

    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = file.with_suffix(".lock").open("w")
    except OSError:
        yield  # no cache, then; each gets its own
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _renewed(config: Path, content: bytes, file: Path) -> dict[str, Any]:
    # Another one may have renewed while we waited for our turn.
    held = _held(file)
    if held is not None and SystemClock.now() < held["renewAt"]:
        return held
    try:
        return _renew(config, content, file)
    except UnavailableError:
        if held is None:
            raise
        return held | {"renewAt": held["endsAt"]}


def _held(file: Path) -> dict[str, Any] | None:
    now = SystemClock.now()
    try:
        held: dict[str, Any] = json.loads(file.read_bytes())
        usable = now < float(held["endsAt"]) - _MARGIN and float(held["renewAt"]) > 0
        return held if usable and held["certificate"] and held["key"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _renew(config: Path, content: bytes, file: Path) -> dict[str, Any]:
    from proxy.cli.client import Client
    from proxy.cli.issuing import obtain
    from proxy.cli.moments import parse
    from proxy.files import replace_private

    try:
        issued, key = obtain(Client(_server(config, content)), "/credentials/renew", {})
    except DeniedError as error:
        raise DeniedError(
            error.message, hint="Ask for a new kubeconfig (`kubewitness kubeconfig issue`)."
        ) from error
    # From our own clock on, since that is the one it will be compared with.
    now = SystemClock.now()
    ends = parse(issued["notAfter"]).timestamp()
    held = {
        "certificate": issued["certificate"],
        "key": key.decode(),
        "endsAt": ends,
        "renewAt": now + (ends - now) * RENEW_AT,
    }
    try:
        replace_private(file, json.dumps(held).encode())
    except OSError as error:
        typer.echo(f"kubewitness: certificates are not cached: {error}", err=True)
    return held


def _server(config: Path, content: bytes) -> Any:  # noqa: ANN401  # imported only when needed
    import yaml

    from proxy.cli.connection import of_entry

    try:
        entry = yaml.safe_load(content)
    except yaml.YAMLError:
        entry = None  # not chained: the text around the error may be the key
    if not isinstance(entry, dict):
        raise InvalidInputError(f"{config} is not a renewal file.")
    return of_entry(entry, str(config))

"""Writing kubeconfigs: a key made here, a certificate from the server, one context per cluster.

With `--exec` the key and the certificate are not kubectl's: they may only renew, they lie in a
file of their own beside the kubeconfig, and kubectl runs `kubewitness credential exec` to get a
short-lived certificate (client.authentication.k8s.io/v1).
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from proxy.cli.client import Client
from proxy.cli.new_file import require_no_form
from proxy.cli.output import to_yaml
from proxy.errors import InvalidInputError, KubewitnessError, UnavailableError
from proxy.files import replace_private
from proxy.pki.keys import csr, key_pem, new_key
from proxy.pki.kubeconfig import (
    EmbeddedLogin,
    ExecLogin,
    base64_text,
    client_kubeconfig,
    dump,
    read_kubeconfig,
    write_kubeconfig,
)

RENEW_SUFFIX: Final = ".renew.yaml"


def check(path: Path) -> None:
    """Raise before anything is issued when `path` could not be written."""
    require_no_form(path)
    if not path.parent.is_dir():
        raise InvalidInputError(f"There is no directory {path.parent}.")
    if path.is_dir():
        raise InvalidInputError(f"{path} is a directory.", hint="Name a file with -o.")
    if path.exists() and path.stat().st_size > 0:
        read_kubeconfig(path)


def obtain(client: Client, path: str, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """A new key with a certificate for it: what the API answered, and the key as PEM."""
    key = new_key()
    request = dict(request) | {"csr": csr(key, str(request.get("user", ""))).decode()}
    issued: dict[str, Any] = client.post(path, request)
    return issued, key_pem(key)


def reached_at(server: str) -> str:
    """An address a person gave, as `host:port`; raises InvalidInputError when it is not one."""
    if not server:
        return ""
    host, separator, port = server.rpartition(":")
    plain = host.strip("[]")
    good = separator and plain and not set(plain) & set("/@?# \t\n")
    if not good or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidInputError(f"--server {server!r} is not HOST:PORT.")
    return f"[{plain}]:{port}" if ":" in plain else f"{plain}:{port}"


def plain_text(
    client: Client, request: Mapping[str, Any], reached: str = ""
) -> tuple[dict[str, Any], str]:
    """Issue a kubeconfig that holds its own key: what was issued, and its text."""
    issued, key = obtain(client, "/credentials", {**request, "usage": "kubectl"})
    login = EmbeddedLogin(issued["certificate"].encode(), key)
    return issued, dump(_document(issued, login, reached)).decode()


def write_plain(
    client: Client, request: Mapping[str, Any], path: Path, reached: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Issue and write a kubeconfig that holds its own key: what was issued, and its contexts.

    `reached` is the address it names (`host:port`) instead of the one that the server advertises.
    """
    issued, key = obtain(client, "/credentials", {**request, "usage": "kubectl"})
    login = EmbeddedLogin(issued["certificate"].encode(), key)
    return issued, _write(path, issued, login, reached)


def write_renewing(
    client: Client, request: Mapping[str, Any], path: Path, reached: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Issue and write a kubeconfig whose certificates renew themselves."""
    issued, key = obtain(client, "/credentials", {**request, "usage": "renew"})
    renewal = path.resolve().with_name(path.name + RENEW_SUFFIX)
    server = client.server
    content = {
        "server": f"https://{server.address}",
        "user": issued["user"],
        "ca-data": base64_text(server.ca.encode()),
        "client-certificate-data": base64_text(issued["certificate"].encode()),
        "client-key-data": base64_text(key),
    }
    try:
        replace_private(renewal, to_yaml(content).encode())
    except OSError as error:
        raise _unwritten(issued, f"{renewal}: {error.strerror or error}.") from error
    return issued, _write(path, issued, ExecLogin(renewal, _command()), reached)


def _document(
    issued: Mapping[str, Any], login: EmbeddedLogin | ExecLogin, reached: str
) -> dict[str, Any]:
    return client_kubeconfig(
        server=issued["server"],
        # Clusters that were named have their contexts, also before a grant reaches them.
        clusters=issued["reachable"] or [name for name in issued["clusters"] if name != "*"],
        user=issued["user"],
        ca_pem=issued["authority"].encode(),
        login=login,
        reached=reached,
    )


def _write(
    path: Path, issued: Mapping[str, Any], login: EmbeddedLogin | ExecLogin, reached: str
) -> list[str]:
    try:
        return write_kubeconfig(path, _document(issued, login, reached))
    except KubewitnessError as error:
        raise _unwritten(issued, error.message) from error


def _unwritten(issued: Mapping[str, Any], why: str) -> UnavailableError:
    return UnavailableError(
        f"The credential was issued and could not be written: {why}",
        hint=f"Revoke it: `kubewitness kubeconfig revoke {issued['serial']}`.",
    )


def _command() -> str:
    """How kubectl starts us: by the name on PATH, else by where this command is."""
    if shutil.which("kubewitness"):
        return "kubewitness"
    beside = Path(sys.executable).with_name("kubewitness")
    return str(beside) if beside.exists() else "kubewitness"

"""Which control plane a command speaks to, from its options, the environment and the context file.

1. `--via` or `--data-dir`, whichever was given as an option; both at once are refused.
2. `KUBEWITNESS_CONTEXT`, then `KUBEWITNESS_DATA_DIR`.
3. The current context.

`KUBEWITNESS_TOKEN_FILE` names a file with an API token, which then says who we are there instead of
the certificate; which server it is, and its authority, still come from the choice above.
"""

import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from proxy.cli import context
from proxy.environment import variable
from proxy.errors import InvalidInputError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    # Imported when a command connects: TLS and HTTP are not needed for --help.
    from proxy.cli.client import Client, Server

_DEFAULT_PORT: Final = 9443
_TOKEN: Final = re.compile(r"kwt_[A-Za-z0-9_-]{16,512}", re.ASCII)


def connect(data_dir: Path | None, via: str | None, *, timeout: float = 30.0) -> "Client":
    """A client of the chosen control plane; nothing is sent yet.

    Raises NotFoundError when nothing is chosen, InvalidInputError when the choice is unusable.
    """
    from proxy.cli.client import Client

    return Client(choose(data_dir, via), timeout)


def choose(data_dir: Path | None, via: str | None) -> "Server":
    """The server and the credential that `connect` uses."""
    file = variable("KUBEWITNESS_TOKEN_FILE")
    token = read_token(Path(file)) if file else ""
    if data_dir is not None and via is not None:
        # What equals the environment came from there, and gives way to an option.
        if str(data_dir) == variable("KUBEWITNESS_DATA_DIR"):
            data_dir = None
        elif via == variable("KUBEWITNESS_CONTEXT"):
            via = None
        else:
            raise InvalidInputError("--data-dir and --via name two servers; give one of them.")
    if via is None and data_dir is not None:
        return of_data_dir(data_dir, token)
    contexts = context.load()
    name = via or contexts.current
    if not name:
        raise NotFoundError(
            "No server is chosen.",
            hint="Give --data-dir (or KUBEWITNESS_DATA_DIR), or `kubewitness context use NAME`.",
        )
    return of_context(contexts.find(name), contexts.path, token)


def of_context(chosen: context.Context, path: Path, token: str = "") -> "Server":
    """The server of a context; one with a data directory and no key uses the one in there.

    `token` goes before the credential of the context.
    """
    if chosen.data_dir is not None and not chosen.key and not chosen.token:
        return of_data_dir(chosen.data_dir, token)
    where = f" --data-dir {chosen.data_dir}" if chosen.data_dir else ""
    start = f"Start it there with `kubewitness serve{where}`, or choose another context."
    return _server(chosen, f"{path}: context {chosen.name!r}", start, token)


def of_entry(entry: dict[str, Any], where: str) -> "Server":
    """The server of a mapping with the fields of a context, found at `where`."""
    return _server(context.decode(entry, "", where), where, "Is `kubewitness serve` running there?")


def _server(chosen: context.Context, where: str, start: str, token: str = "") -> "Server":
    fields = {"server": chosen.server, "ca-data": chosen.ca}
    if not token and chosen.token:
        token = checked_token(chosen.token, where)
    if not token:
        fields["client-certificate-data"] = chosen.certificate
        fields["client-key-data"] = chosen.key
    missing = [field for field, value in fields.items() if not value]
    if missing:
        raise InvalidInputError(f"{where}: {', '.join(missing)} missing.")
    from proxy.cli.client import Server

    host, port = split(chosen.server)
    if token:
        # One identity at a time: with a certificate as well, who we are would be anybody's guess.
        return Server(host, port, chosen.ca, "", "", start, token)
    return Server(host, port, chosen.ca, chosen.certificate, chosen.key, start)


def read_token(path: Path) -> str:
    """The API token in a file; raises InvalidInputError, which never shows what is in it."""
    try:
        content = path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InvalidInputError(
            f"The API token in {path} cannot be read.", hint="Is KUBEWITNESS_TOKEN_FILE right?"
        ) from None
    return checked_token(content.strip(), str(path))


def checked_token(text: str, where: str) -> str:
    """`text`, if it has the form of a token; raises InvalidInputError naming `where` only."""
    if not _TOKEN.fullmatch(text):
        raise InvalidInputError(
            f"{where} holds no API token.", hint="`kubewitness token add` makes one (kwt_…)."
        )
    return text


def split(server: str) -> tuple[str, int]:
    """`https://host:port`, `host:port` or `host` as host and port; raises InvalidInputError."""
    plain = server.removeprefix("https://").rstrip("/")
    if "://" in plain or "/" in plain:
        raise InvalidInputError(f"{server!r} is not https://host:port.")
    host, separator, port = plain.rpartition(":")
    if not separator or plain.endswith("]"):
        host, port = plain, str(_DEFAULT_PORT)
    if not port.isdecimal() or not 0 < int(port) < 65536 or not host.strip("[]"):
        raise InvalidInputError(f"{server!r} is not https://host:port.")
    return host.strip("[]"), int(port)


def join(host: str, port: int) -> str:
    """The opposite of `split`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches itself under `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def of_data_dir(path: Path, token: str = "") -> "Server":
    """The server that runs on this machine with `path`, and its own admin credential, or `token`.

    Raises NotFoundError when `init` was not run there, UnavailableError when it cannot be read.
    """
    import yaml

    from proxy.data_dir import DataDir

    data = DataDir(path.expanduser())
    data.require()
    try:
        entry = yaml.safe_load(data.admin_context.read_bytes())
    except (OSError, yaml.YAMLError):
        entry = None  # not chained: the text around the error may be the key
    if not isinstance(entry, dict):
        raise UnavailableError(
            f"{data.admin_context} cannot be read.",
            hint=f"`kubewitness serve --data-dir {path}` writes it when it starts.",
        )
    chosen = context.decode(entry, path.name, str(data.admin_context))
    start = f"Start it with `kubewitness serve --data-dir {path}`."
    return _server(chosen, str(data.admin_context), start, token)


def path_of(*segments: str) -> str:
    """A path from segments that may hold anything."""
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)

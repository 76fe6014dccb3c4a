"""Settings of how clusters are reached: a group of `proxy.settings`.

A kubeconfig comes from whoever may register a cluster, or give the proxy another account there.
What it would use of the proxy's own machine (a program, a file, a port only that machine reaches)
is what the operator lists here. Each entry is for one server: what a program prints or a file holds
is sent there as a credential, and may be sent nowhere else.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from proxy.settings_group import Group, separated

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=", re.ASCII)
_PORTS: Final = {"https": 443, "http": 80}
Place = tuple[str, str, int, str]


@dataclass(frozen=True, slots=True)
class PermittedPlugin:
    """An exec plugin that kubeconfigs may name: for which server, and every word of it."""

    server: str
    environment: tuple[tuple[str, str], ...]
    command: tuple[str, ...]
    """An absolute path, and its arguments."""

    @property
    def line(self) -> str:
        """As the setting has it."""
        variables = (f"{name}={shlex.quote(value)}" for name, value in self.environment)
        return " ".join((self.server, *variables, shlex.join(self.command)))


def place(server: str) -> Place:
    """What a server's URL comes to: two that differ here are two servers. Raises ValueError."""
    url = urlsplit(server)
    if url.scheme not in _PORTS or not url.hostname or url.username is not None:
        raise ValueError(f"{server!r} is not a URL of the form https://host:port")
    return url.scheme, url.hostname, url.port or _PORTS[url.scheme], url.path.rstrip("/")


def read_plugin(line: str) -> PermittedPlugin:
    """One entry of `upstream.plugins`. Raises ValueError."""
    server, *words = shlex.split(line) or [""]
    place(server)
    variables = []
    while words and _VARIABLE.match(words[0]):
        name, _, value = words.pop(0).partition("=")
        variables.append((name, value))
    if not words or not PurePosixPath(words[0]).is_absolute():
        raise ValueError(f"{line!r} is not SERVER [NAME=VALUE] /COMMAND [ARGUMENT]")
    return PermittedPlugin(server, tuple(sorted(variables)), tuple(words))


def read_token_file(line: str) -> tuple[str, str]:
    """One entry of `upstream.token_files`: server and file. Raises ValueError."""
    words = shlex.split(line)
    if len(words) != 2 or not PurePosixPath(words[1]).is_absolute():
        raise ValueError(f"{line!r} is not SERVER /FILE")
    place(words[0])
    return words[0], words[1]


def _plugin(line: str) -> str:
    read_plugin(line)
    return line


def _token_file(line: str) -> str:
    read_token_file(line)
    return line


def _plain(server: str) -> str:
    if place(server)[0] != "http":
        raise ValueError(f"{server!r} is not a URL of the form http://127.0.0.1:8001")
    return server


class Upstream(Group):
    """How we talk to clusters."""

    connect_timeout: float = Field(
        default=10.0, gt=0, description="Seconds to connect to a cluster, TLS included."
    )
    idle_timeout: float = Field(
        default=60.0,
        gt=0,
        lt=90,
        description="Seconds an unused connection is kept; servers drop theirs at 90.",
    )
    idle_connections: int = Field(
        default=256, ge=0, description="Unused connections kept per cluster and worker."
    )
    excess_permissions: Literal["warn", "refuse"] = Field(
        default="warn",
        description="What to do with a cluster whose proxy account may do more than impersonate.",
    )
    check_interval: float = Field(
        default=600.0, gt=0, description="Seconds between looks at what our account may do there."
    )
    plugins: Annotated[
        tuple[Annotated[str, AfterValidator(_plugin)], ...], NoDecode, BeforeValidator(separated)
    ] = Field(
        default=(),
        description="Exec plugins that kubeconfigs of clusters may name: "
        "`SERVER [NAME=VALUE] /COMMAND [ARGUMENT]`, that very command for that server.",
    )
    token_files: Annotated[
        tuple[Annotated[str, AfterValidator(_token_file)], ...],
        NoDecode,
        BeforeValidator(separated),
    ] = Field(
        default=(),
        description="Token files of this machine that kubeconfigs of clusters may name: "
        "`SERVER /FILE`, that file for that server.",
    )
    plain_http: Annotated[
        tuple[Annotated[str, AfterValidator(_plain)], ...], NoDecode, BeforeValidator(separated)
    ] = Field(
        default=(),
        description="Servers on loopback that are reached without TLS: `http://127.0.0.1:8001`.",
    )

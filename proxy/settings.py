"""Settings: one documented field each, read from flags, `KUBEWITNESS_…`, and the settings file.

Precedence: flag, environment, `<data-dir>/kubewitness.yaml`, default. A group `journal` with a
field `deadline` is `journal.deadline` in the file and `KUBEWITNESS_JOURNAL_DEADLINE` in the
environment. Unknown names are refused, with the place they were found.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as PydanticSettingsError

from proxy.errors import SettingsError
from proxy.reaching import Upstream
from proxy.settings_group import Group, separated
from proxy.suspicious import Suspicious

FILE_NAME = "kubewitness.yaml"
KIB = 1024
MIB = 1024 * 1024
_HOST = re.compile(r"(?:[^\[\]:]*|\[[0-9a-fA-F:.]*\])(?::([0-9]{0,5}))?", re.ASCII)
"""One of the hosts of a database's URL, with its port."""


def split_address(value: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` → (host, port).

    Raises ValueError when the port is missing or not 0-65535.
    """
    host, separator, port = value.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{value!r} is not host:port")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  # an empty host means every address


def is_postgresql(url: str) -> bool:
    """Whether `url` names a PostgreSQL database."""
    return url.startswith(("postgresql://", "postgres://"))


def require_database_url(url: str) -> None:
    """Make sure that `url` can be read in one way only: a password is often pasted in as it is.

    Raises SettingsError that repeats nothing of it.
    """
    if not _readable(url):
        raise SettingsError(
            "database: is not a URL that can be read.",
            hint="In a password write / as %2F, @ as %40, # as %23, ? as %3F, [ as %5B and % as "
            "%25; or leave it out and keep it in ~/.pgpass.",
        )


def database_place(url: str) -> str:
    """Where the database of `url` is, for people: its hosts and ports, and nothing else of it."""
    parsed = urlsplit(url)
    hosts = parsed.netloc.rpartition("@")[2]
    return hosts or dict(parse_qsl(parsed.query)).get("host", "") or "its local socket"


def _readable(url: str) -> bool:
    try:
        parsed = urlsplit(url)
        parse_qsl(parsed.query, strict_parsing=bool(parsed.query))
    except ValueError:
        return False
    hosts = [_HOST.fullmatch(host) for host in parsed.netloc.rpartition("@")[2].split(",")]
    # An @ or # after the host was meant for a password that ended early.
    return not ("@" in parsed.path + parsed.query or "#" in url) and all(
        host is not None and int(host[1] or 0) <= 65535 for host in hosts
    )


def _address(value: str) -> str:
    split_address(value)
    return value


def _network(value: str) -> str:
    return str(ipaddress.ip_network(value, strict=False))


Address = Annotated[str, AfterValidator(_address)]
Network = Annotated[str, AfterValidator(_network)]


class TLS(Group):
    """Certificates of the listeners, and the authority that issues credentials."""

    names: Annotated[tuple[str, ...], NoDecode, BeforeValidator(separated)] = Field(
        default=("localhost", "127.0.0.1", "::1"),
        description="Host names and addresses in the server certificate we issue ourselves.",
    )
    cert_file: Path | None = Field(
        default=None, description="Server certificate (PEM) to use instead of one we issue."
    )
    key_file: Path | None = Field(default=None, description="Key (PEM) of `tls.cert_file`.")
    ca_cert_file: Path | None = Field(
        default=None, description="External certificate authority (PEM) that signs credentials."
    )
    ca_key_file: Path | None = Field(default=None, description="Key (PEM) of `tls.ca_cert_file`.")
    min_version: Literal["1.2", "1.3"] = Field(
        default="1.2", description="Oldest TLS version accepted from clients."
    )
    handshake_timeout: float = Field(
        default=10.0, gt=0, description="Seconds a TLS handshake may take before it is cut."
    )


class Limits(Group):
    """What one client may cost."""

    header_bytes: int = Field(
        default=MIB, ge=8 * KIB, description="Largest request head, as kube-apiserver allows."
    )
    uri_bytes: int = Field(
        default=256 * KIB,
        ge=4 * KIB,
        description="Longest path with its query; each event of the call holds all of it.",
    )
    recorded_refusals: int = Field(
        default=60,
        ge=1,
        description="Refusals in a minute of one address without a credential that a process records "
        "one by one; the others as a sum.",
    )
    header_timeout: float = Field(
        default=32.0, gt=0, description="Seconds for a request head to arrive once begun."
    )
    idle_timeout: float = Field(
        default=300.0, gt=0, description="Seconds a client connection may stay without a call."
    )
    body_timeout: float = Field(
        default=60.0, gt=0, description="Seconds a request body may stall before it is cut."
    )
    connections: int = Field(
        default=20_000, ge=1, description="Open client connections per worker; more are refused."
    )


class Journal(Group):
    """The durable record."""

    segment_bytes: int = Field(
        default=64 * MIB, ge=64 * KIB, description="Size of a journal segment, preallocated."
    )
    deadline: float = Field(
        default=1.0, gt=0, description="Seconds a call waits for its record before it is refused."
    )
    queue_bytes: int = Field(
        default=64 * MIB, ge=MIB, description="Bytes of records that may wait for the disk."
    )
    queue_records: int = Field(
        default=50_000, ge=100, description="Records that may wait for the disk."
    )
    reserve_bytes: int = Field(
        default=64 * MIB,
        ge=0,
        description="Disk space kept back for `journal.break_glass_group`; 0 keeps none.",
    )
    break_glass_group: str = Field(
        default="", description="Group whose calls go on, on the reserve, when the disk is full."
    )
    unsafe_filesystem: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="Whether to serve with the journal on tmpfs, overlay or NFS, if it alone counts.",
    )


class Audit(Group):
    """What counts as recorded."""

    ack: Literal["local", "replicated"] = Field(
        default="local",
        description="`local`: a record counts when our disk has it; `replicated`: the database too.",
    )


class Access(Group):
    """Who may reach clusters."""

    unregistered: Literal["cluster", "refuse"] = Field(
        default="cluster",
        description="Calls of users who are not registered: left to the cluster's own rules, or refused.",
    )


class Credentials(Group):
    """Client certificates we issue."""

    default_ttl: str = Field(default="8h", description="Lifetime when `--ttl` is not given.")
    max_ttl: str = Field(default="30d", description="Longest lifetime that may be asked for.")


class Log(Group):
    """What the process says about itself on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Quietest level shown; `debug` has one line per call."
    )
    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="`auto` is console on a terminal and JSON elsewhere."
    )


class Settings(BaseSettings):
    """Everything that can be set. Each field's description is its documentation."""

    model_config = SettingsConfigDict(
        env_prefix="KUBEWITNESS_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        frozen=True,
        extra="forbid",
    )

    data_dir: Path = Field(
        default=Path("kubewitness-data"), description="Where keys, state and journals live."
    )
    listen: Address = Field(
        default="0.0.0.0:8443", description="Address of the data plane, for kubectl and friends."
    )
    control: Address = Field(
        default="127.0.0.1:9443", description="Address of the control plane: REST and health."
    )
    metrics: Address = Field(
        default="127.0.0.1:9464", description="Address of `/metrics`, `/livez` and `/readyz`."
    )
    advertise: str = Field(
        default="",
        description="`host:port` written into kubeconfigs; empty: the first TLS name and our port.",
    )
    domain: str = Field(
        default="",
        description="Calls to `<cluster>.<domain>` reach that cluster without a path prefix.",
    )
    workers: int = Field(
        default=1, ge=1, le=64, description="Processes that share the data plane's port."
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(separated)] = Field(
        default=(),
        description="Networks whose PROXY protocol v2 header is believed (and required).",
    )
    database: str = Field(
        default="",
        description="`postgresql://…` of state and index; empty: SQLite files in the data directory.",
    )
    database_file: Path | None = Field(
        default=None,
        description="File that holds `database`, as a mounted secret does; read once, at start.",
    )
    in_cluster: str = Field(
        default="",
        description="Name under which the cluster that our pod runs in is registered at start.",
    )
    state_key_file: Path | None = Field(
        default=None,
        description="Key that seals cluster credentials; replicas that share a database share it.",
    )
    drain_timeout: float = Field(
        default=30.0, ge=0, description="Seconds that calls under way get after SIGTERM."
    )
    tls: TLS = TLS()
    limits: Limits = Limits()
    upstream: Upstream = Upstream()
    journal: Journal = Journal()
    audit: Audit = Audit()
    access: Access = Access()
    credentials: Credentials = Credentials()
    suspicious: Suspicious = Suspicious()
    log: Log = Log()


def load(flags: dict[str, Any] | None = None) -> Settings:
    """Read the settings: `flags` (nested by group, `None` left out), environment, file, defaults.

    The data directory decides which file is read, so it comes from a flag or the environment.
    Raises SettingsError naming the setting, where it was found and what is wrong with it.
    """
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    first = _build(given, {})
    path = first.data_dir / FILE_NAME
    return _with_database(_build(given, _read(path), path) if path.exists() else first)


def read_database_url(path: Path) -> str:
    """The database's URL out of a file, as of a mounted secret. Raises SettingsError, without it."""
    try:
        url = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"{path}: the database's URL cannot be read: {reason}.") from error
    if not is_postgresql(url):
        raise SettingsError(f"{path}: does not hold a URL of the form postgresql://….")
    require_database_url(url)
    return url


def _with_database(settings: Settings) -> Settings:
    """`settings` with the URL that stands in `database_file`, if that is set."""
    if settings.database_file is None:
        return settings
    if settings.database:
        raise SettingsError("database and database_file are both set; keep one.")
    return settings.model_copy(update={"database": read_database_url(settings.database_file)})


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SettingsError(f"{path}: the top level must be a mapping of settings")
    # A group with every line commented out reads as nothing.
    return {name: value for name, value in document.items() if value is not None}


def _build(flags: dict[str, Any], file: dict[str, Any], path: Path | None = None) -> Settings:
    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del init_settings, dotenv_settings, file_secret_settings
            return (
                InitSettingsSource(settings_cls, flags),
                env_settings,
                InitSettingsSource(settings_cls, file),
            )

    try:
        return Sourced()
    except (ValidationError, PydanticSettingsError) as error:
        where = f"{path}, flags or environment" if path else "flags or environment"
        raise SettingsError(f"settings ({where}): {_problems(error)}") from error


def _problems(error: ValidationError | PydanticSettingsError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
        for item in error.errors(include_url=False, include_input=False)
    )

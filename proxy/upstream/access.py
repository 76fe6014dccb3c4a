"""What a kubeconfig says about one cluster, checked and complete: address, trust, login.

On a person's machine the files it names are read once and travel inside afterwards. What changes
by itself, a token file or an exec plugin, is only named here: `proxy.upstream.permitted` decides
whether the proxy may use it.
"""

import base64
import binascii
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import yaml

from proxy.errors import InvalidInputError

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # PyYAML without libyaml: the same, slower
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

Document = Mapping[str, Any]
_UNUSABLE: Final = {
    "as": "impersonation is what the proxy does itself",
    "as-groups": "impersonation is what the proxy does itself",
    "as-uid": "impersonation is what the proxy does itself",
    "as-user-extra": "impersonation is what the proxy does itself",
    "auth-provider": "Kubernetes replaced it by exec plugins",
}
_MOST_EVENTS: Final = 20_000
"""Parts of a kubeconfig as YAML has them; one with a hundred contexts has a fifth of it."""


class AccessError(InvalidInputError):
    """A kubeconfig cannot be used to reach a cluster. The message never quotes its secrets."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a cluster and log in there."""

    server: str
    ca_pem: bytes | None = None
    """None: the machine's own trust store."""
    insecure: bool = False
    """Do not verify the server at all."""
    server_name: str | None = None
    """Name to verify and send as SNI instead of the server's host."""
    certificate_pem: bytes | None = field(default=None, repr=False)
    key_pem: bytes | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    """Wins over `token`, as in client-go."""
    basic: tuple[str, str] | None = field(default=None, repr=False)
    plugin: Mapping[str, Any] | None = field(default=None, repr=False)
    """The `exec` section; only used when there is no other login."""

    @property
    def login(self) -> str:
        """Which kind of login it is, for the record: never what is secret in it."""
        if self.plugin is not None:
            return f"exec plugin {self.plugin['command']}"
        kinds = (
            (self.certificate_pem, "client certificate"),
            (self.token_file, f"token file {self.token_file}"),
            (self.token, "token"),
            (self.basic, "password"),
        )
        return ", ".join(words for given, words in kinds if given) or "none"

    @property
    def url(self) -> SplitResult:
        """The server's address in parts."""
        return urlsplit(self.server)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person who registers this should know."""
        found = []
        if self.insecure:
            found.append(
                f"insecure-skip-tls-verify: whoever sits between here and {self.server} can read and change every call, and take the proxy's credential. Use certificate-authority-data."
            )
        if self.url.scheme == "http":
            found.append(f"{self.server} is not encrypted; only loopback sandboxes may be so.")
        if self.token_file is not None:
            found.append(
                f"The token file {self.token_file} must stay readable where the proxy runs, and its operator must permit it: `upstream.token_files`."
            )
        if self.plugin is not None:
            found.append(
                f"The command {self.plugin['command']!r} must exist where the proxy runs, and its operator must permit it: `upstream.plugins`."
            )
        return tuple(found)

    def at(self, other: "Access") -> "Access":
        """The same login, at the address of `other` and with the trust of `other`."""
        return replace(
            self,
            server=other.server,
            ca_pem=other.ca_pem,
            insecure=other.insecure,
            server_name=other.server_name,
        )

    def document(self, name: str) -> bytes:
        """A kubeconfig (YAML) with this one context called `name`, to be sealed and stored."""
        cluster: dict[str, Any] = {"server": self.server}
        if self.ca_pem is not None:
            cluster["certificate-authority-data"] = base64.b64encode(self.ca_pem).decode()
        if self.insecure:
            cluster["insecure-skip-tls-verify"] = True
        if self.server_name is not None:
            cluster["tls-server-name"] = self.server_name
        user: dict[str, Any] = {}
        if self.certificate_pem is not None and self.key_pem is not None:
            user["client-certificate-data"] = base64.b64encode(self.certificate_pem).decode()
            user["client-key-data"] = base64.b64encode(self.key_pem).decode()
        if self.token_file is not None:
            user["tokenFile"] = str(self.token_file)
        elif self.token:
            user["token"] = self.token
        if self.basic is not None:
            user["username"], user["password"] = self.basic
        if self.plugin is not None:
            user["exec"] = dict(self.plugin)
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
        return yaml.safe_dump(document, sort_keys=False).encode()


def load_document(kubeconfig: bytes) -> Document:
    """A kubeconfig as a document.

    Raises AccessError when it is not YAML or not a mapping, or has aliases: they can make a few
    bytes into any number of them.
    """
    try:
        for count, event in enumerate(yaml.parse(kubeconfig, Loader=Loader)):
            if isinstance(event, yaml.AliasEvent) or count > _MOST_EVENTS:
                raise AccessError(
                    "The kubeconfig has YAML aliases, or far more in it than one context needs.",
                    hint="Give one context alone: kubectl config view --minify --flatten --raw.",
                )
        document = yaml.load(kubeconfig, Loader=Loader)  # a safe one
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        # The parser's message quotes the file, and the file holds secrets.
        raise AccessError("The kubeconfig is not YAML.") from error
    if not isinstance(document, dict):
        raise AccessError("The kubeconfig is not a mapping.")
    return document


def read_access(
    document: Document, *, context: str | None = None, base: Path | None = None
) -> Access:
    """The access that `context` (default: the current one) of a kubeconfig describes.

    Paths in it are relative to `base`, the directory of the kubeconfig. Without `base` no file is
    read: what came over the network must not make us read our own disk. A token file or a plugin
    stands in what is returned; whoever would use it asks `proxy.upstream.permitted` first. Raises
    AccessError.
    """
    context = context or _text(document, "current-context")
    if not context:
        raise AccessError("The kubeconfig has no current context.", hint="Name one with --context.")
    chosen = _entry(document, "contexts", "context", context)
    cluster = _entry(document, "clusters", "cluster", _text(chosen, "cluster"))
    user = _entry(document, "users", "user", _text(chosen, "user"))
    for key, why in _UNUSABLE.items():
        if user.get(key):
            raise AccessError(f"The kubeconfig's user has {key!r}, which cannot be used: {why}.")
    if cluster.get("proxy-url"):
        raise AccessError(
            "The kubeconfig has a proxy-url; clusters behind an HTTP or SOCKS proxy are not supported yet.",
            hint="Reach the API server directly, or through a tunnel to a local port.",
        )
    access = Access(
        server=_server(cluster),
        ca_pem=_data(cluster, "certificate-authority", base),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        server_name=_text(cluster, "tls-server-name") or None,
        **_login(user, base),
    )
    if access.insecure and access.ca_pem is not None:
        raise AccessError("certificate-authority and insecure-skip-tls-verify exclude each other.")
    return access


def _login(user: Document, base: Path | None) -> dict[str, Any]:
    certificate = _data(user, "client-certificate", base)
    key = _data(user, "client-key", base)
    if (certificate is None) != (key is None):
        raise AccessError("client-certificate and client-key are given together or not at all.")
    named = _text(user, "tokenFile")
    token_file = _path(named, base) if named else None
    token = "" if token_file else _text(user, "token").strip()
    basic = None
    if user.get("username") or user.get("password"):
        basic = (_text(user, "username"), _text(user, "password"))
        if token or token_file:
            raise AccessError("The kubeconfig's user has a token and a password; keep one.")
    other = certificate or token or token_file or basic
    plugin = _plugin(user["exec"], base) if user.get("exec") and not other else None
    if not other and plugin is None:
        raise AccessError("The kubeconfig's user has no credential at all.")
    return {
        "certificate_pem": certificate,
        "key_pem": key,
        "token": token,
        "token_file": token_file,
        "basic": basic,
        "plugin": plugin,
    }


def _plugin(section: object, base: Path | None) -> dict[str, Any]:
    if not isinstance(section, Mapping) or not section.get("command"):
        raise AccessError("The kubeconfig's exec section has no command.")
    version = _text(section, "apiVersion")
    if version not in {"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"}:
        raise AccessError(
            f"The exec plugin speaks {version!r}; client.authentication.k8s.io/v1 is needed."
        )
    if section.get("interactiveMode") == "Always":
        raise AccessError("The exec plugin wants to ask on a terminal; the proxy has none.")
    command = _text(section, "command")
    if "/" in command:
        command = str(_path(command, base))
    return {**section, "command": command}


def _entry(document: Document, kind: str, key: str, name: str) -> Document:
    entries = document.get(kind) or []
    if not isinstance(entries, list):
        raise AccessError(f"The kubeconfig's {kind} are not a list.")
    found = [item for item in entries if isinstance(item, Mapping) and item.get("name") == name]
    if len(found) != 1 or not isinstance(found[0].get(key), Mapping):
        names = [item.get("name") for item in entries if isinstance(item, Mapping)]
        known = ", ".join(name for name in names if isinstance(name, str))
        raise AccessError(
            f"The kubeconfig has no {key} {name!r}.", hint=f"It has: {known}." if known else ""
        )
    return found[0][key]  # type: ignore[no-any-return]  # checked to be a mapping


def _server(cluster: Document) -> str:
    server = _text(cluster, "server")
    try:
        url = urlsplit(server)
        # Its path goes into every request line.
        plain = server.isascii() and server.isprintable() and " " not in server
        valid = plain and bool(url.hostname) and (url.port is None or 0 < url.port < 65536)
    except ValueError:
        valid = False
        url = urlsplit("")
    if not valid or url.scheme not in {"https", "http"} or url.username is not None:
        raise AccessError("The kubeconfig's server is not a URL of the form https://host:port.")
    if url.scheme == "http" and not _loopback(url.hostname or ""):
        raise AccessError(
            f"{server} is not encrypted: the proxy's credential would cross the network in the clear.",
            hint="Use https; plain http is accepted on loopback only.",
        )
    return f"{url.scheme}://{url.netloc}{url.path.rstrip('/')}"


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _data(section: Document, key: str, base: Path | None) -> bytes | None:
    encoded, file = _text(section, f"{key}-data"), _text(section, key)
    if encoded:
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise AccessError(f"The kubeconfig's {key}-data is not base64.") from error
    if not file:
        return None
    if base is None:
        raise AccessError(f"The kubeconfig names a file as {key}.", hint=f"Embed it as {key}-data.")
    path = _path(file, base)
    try:
        return path.read_bytes()
    except OSError as error:
        raise AccessError(f"{path}: {key} cannot be read: {error.strerror}.") from error


def _text(section: Document, key: str) -> str:
    """The text at `key`, empty when there is none. Raises AccessError for anything else."""
    value = section.get(key)
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, int | float):
        return "" if value is None else str(value)
    raise AccessError(f"The kubeconfig's {key} is not text.")


def _path(text: str, base: Path | None) -> Path:
    path = Path(text)
    if path.is_absolute():
        return path
    if base is None:
        raise AccessError(
            f"The kubeconfig names the relative path {text!r}.", hint="Make it absolute."
        )
    return (base / path).resolve()

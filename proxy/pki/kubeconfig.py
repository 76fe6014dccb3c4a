"""The kubeconfigs we hand out: one context per cluster, nothing in them that is not ours.

Entries are called after the server (`prod@proxy.example.com:8443`), so those of several proxies
live side by side in one file; the context is called after the cluster, which is what people type.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from proxy.errors import InvalidInputError
from proxy.files import replace_private
from proxy.pki.exec_credential import API_VERSION

Document = dict[str, Any]
_LISTS: Final = ("clusters", "users", "contexts")
_LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a kubeconfig we are willing to merge into."""


@dataclass(frozen=True, slots=True)
class EmbeddedLogin:
    """A certificate and its key inside the file: works everywhere, until it ends."""

    certificate_pem: bytes
    key_pem: bytes


@dataclass(frozen=True, slots=True)
class ExecLogin:
    """A command that obtains short-lived certificates whenever one is needed."""

    config: Path
    """What `kubewitness credential exec --config` reads."""
    command: str = "kubewitness"


def client_kubeconfig(
    *,
    server: str,
    clusters: Sequence[str],
    user: str,
    ca_pem: bytes,
    login: EmbeddedLogin | ExecLogin,
    reached: str = "",
) -> Document:
    """A kubeconfig for `user` with a context for each of `clusters`, the first one current.

    `server` is the data plane as `host:port`; with `reached` it is connected to there instead, and
    its certificate is still checked for the name in `server`. Raises InvalidInputError when
    `clusters` is empty.
    """
    if not clusters:
        raise InvalidInputError(
            "A kubeconfig needs at least one cluster.", hint="Name it with --cluster."
        )
    names = list(dict.fromkeys(clusters))
    user_name = f"{user}@{server}"
    ca = base64_text(ca_pem)
    checked = {"tls-server-name": server.rpartition(":")[0].strip("[]")} if reached else {}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": f"{name}@{server}",
                "cluster": {
                    "server": f"https://{reached or server}/clusters/{name}",
                    "certificate-authority-data": ca,
                    **checked,
                },
            }
            for name in names
        ],
        "users": [{"name": user_name, "user": _user(login)}],
        "contexts": [
            {"name": name, "context": {"cluster": f"{name}@{server}", "user": user_name}}
            for name in names
        ],
        "current-context": names[0],
    }


def _user(login: EmbeddedLogin | ExecLogin) -> Document:
    if isinstance(login, EmbeddedLogin):
        return {
            "client-certificate-data": base64_text(login.certificate_pem),
            "client-key-data": base64_text(login.key_pem),
        }
    return {
        "exec": {
            "apiVersion": API_VERSION,
            "command": login.command,
            "args": ["credential", "exec", "--config", str(login.config)],
            # Required in v1; we never ask anything on the terminal.
            "interactiveMode": "Never",
            "installHint": "kubewitness is needed to log in to this cluster: pip install kubewitness",
            "provideClusterInfo": False,
        }
    }


def write_kubeconfig(path: Path, document: Document) -> list[str]:
    """Write `document` to `path` (0600, in one step) and return the names of its contexts there.

    An existing kubeconfig is merged into: its other entries stay, and so does its current context
    when it has a usable one. Raises InvalidInputError, touching nothing, when the file is anything
    but a valid kubeconfig.
    """
    if path.exists() and path.stat().st_size > 0:
        document, contexts = merge(read_kubeconfig(path), document)
    else:
        contexts = [item["name"] for item in document["contexts"]]
    try:
        replace_private(path, dump(document))
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be written: {error.strerror}.") from error
    return contexts


def dump(document: Document) -> bytes:
    """A kubeconfig as YAML, in the order kubectl writes."""
    return yaml.safe_dump(document, sort_keys=False, width=10**6, allow_unicode=True).encode()


def read_kubeconfig(path: Path) -> Document:
    """The kubeconfig in `path`.

    Raises InvalidInputError when it cannot be read or is not one: a mapping of kind Config whose
    clusters, users and contexts are lists of named entries, no name twice.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise InvalidInputError(f"{path}: is too large for a kubeconfig.")
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        # A parser's message quotes the file, and the file holds secrets; where it stopped is none.
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1} " if mark else ""
        raise InvalidInputError(f"{path}: {where}is not YAML.") from error
    problem = _problem(document)
    if problem:
        raise InvalidInputError(f"{path}: is not a kubeconfig: {problem}.")
    return dict(document)


def _problem(document: object) -> str:
    if not isinstance(document, dict):
        return "the top level is not a mapping"
    if document.get("kind", "Config") != "Config" or document.get("apiVersion", "v1") != "v1":
        return "kind and apiVersion are not Config and v1"
    if not any(key in document for key in (*_LISTS, "kind")):
        return "it has neither clusters, users, contexts nor a kind"
    for key in _LISTS:
        problem = _list_problem(document.get(key))
        if problem:
            return f"{key} {problem}"
    return ""


def _list_problem(entries: object) -> str:
    if entries is None:
        return ""
    if not isinstance(entries, list):
        return "is not a list"
    names = [item.get("name") if isinstance(item, dict) else None for item in entries]
    if not all(isinstance(name, str) and name for name in names):
        return "has an entry without a name"
    if len(set(names)) < len(names):
        return "has a name twice"
    return ""


def merge(existing: Document, ours: Document) -> tuple[Document, list[str]]:
    """`existing` with our entries added or replaced, and the names our contexts got there.

    A context name that `existing` uses for something else is left alone; ours is then called
    `<cluster>@<server>`.
    """
    merged = dict(existing)
    for key in ("clusters", "users"):
        merged[key] = _put(existing.get(key) or [], ours[key])
    contexts, names = list(existing.get("contexts") or []), []
    for entry in ours["contexts"]:
        taken = {item["name"]: (item.get("context") or {}).get("cluster") for item in contexts}
        cluster = entry["context"]["cluster"]
        name = entry["name"] if taken.get(entry["name"], cluster) == cluster else cluster
        contexts = _put(contexts, [{**entry, "name": name}])
        names.append(name)
    merged["contexts"] = contexts
    if existing.get("current-context") not in {item["name"] for item in contexts}:
        merged["current-context"] = names[0]
    return {"apiVersion": "v1", "kind": "Config"} | merged, names


def _put(entries: Sequence[Mapping[str, Any]], new: Sequence[Document]) -> list[Any]:
    ours = {item["name"]: item for item in new}
    replaced = [ours.pop(item["name"], item) for item in entries]
    return [*replaced, *ours.values()]


def base64_text(content: bytes) -> str:
    """How keys and certificates stand in kubeconfigs, and in context files like them."""
    return base64.b64encode(content).decode()

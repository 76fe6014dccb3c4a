"""docs/reference, made from the code: settings, metrics, events, the REST API, commands."""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer

from proxy.audit import event
from proxy.cli.app import app
from proxy.cli.settings_table import as_yaml, rows
from proxy.control.entry.permissions import REQUIRED
from proxy.control.openapi import document
from proxy.control.routes import ROUTES
from tests.deploy.prometheus import ROOT
from tests.deploy.roles import roles
from tests.write_tables import metrics_table

REFERENCE = ROOT / "docs" / "reference"
OWN_ACTIONS = {
    "audit.break-glass": "A call went on while others were refused: who, what, and what is left of the reserve.",
    "audit.state": "The state of the record changed: from, to, the cause, how long the former state lasted, how many calls it refused.",
    "authority.generate": "`kubewitness authority generate` made an authority for replicas to share; recorded by the first server that uses it, `notedAt` is when it was done.",
    "call.withheld": "Under a call's own id: its client was told something else than the outcome before says, because that was confirmed too late.",
    "cluster.add": "The proxy registered the cluster that its pod runs in.",
    "credential.issue": "A start, or `init`, issued the credential of this machine's administrator, and why; `D/admin` has it.",
    "credential.revoke": "The proxy revoked what it replaced: the former credential of this machine's administrator.",
    "credential.suspicious": "Under the id of an act of the control plane: the credential was used out of the ordinary; `suspicious` has the flags, and `kubewitness audit suspicious` lists them.",
    "cluster.reconcile": "RoleBindings of a cluster that is looked after differed from the grants: which ones; before and after they were mended, or `drift` where they are only reported.",
    "database.accept": "`kubewitness db accept-server` took another PostgreSQL server for the one whose records we know.",
    "database.upgrade": "`kubewitness db upgrade` made or updated what is ours in PostgreSQL; recorded by the next server that starts, `notedAt` is when it was done.",
    "index.rebuild": "`kubewitness db rebuild` made the index anew, or added what it lacked, and compared it with the journals.",
    "instance.init": "`kubewitness init` made the data directory.",
    "journal.close": "The proxy ended in good order; nothing follows in this epoch.",
    "journal.heal": "A segment was given up after a disk error, and the record went on in a new one.",
    "journal.open": "A new epoch began: by which version, and whether the former one ended in good order.",
    "journal.recover": "What a start found in a journal that a process left without closing it, and closed.",
    "refusals.sum": "Refusals without a credential that were too many to be recorded one by one: at which listener, how many, the first and the last, for which `reasons`, from which `sources`.",
    "settings.change": "A start runs with other settings than the one before: what each was and is; the first records all of them. Of what is secret only that it changed.",
    "state.move": "`kubewitness db move` took the embedded state to PostgreSQL.",
    "journal.space": "Free space fell below a mark, or is above it again.",
}
_NOTE = "Written by `make docs`; a test keeps it equal to the code.\n"


def documents() -> dict[Path, str]:
    """Every page with the file it belongs in."""
    pages = {
        "settings": settings(),
        "metrics": f"# Metrics\n\n{_NOTE}\n{_METRICS}\n{metrics_table()}",
        "events": events(),
        "api": api(),
        "commands": commands(),
        "roles": roles(_NOTE),
    }
    return {REFERENCE / f"{name}.md": text for name, text in pages.items()}


_METRICS = """Served on `/metrics` of the metrics listener (`metrics`, by default `127.0.0.1:9464`). Names are stable. Labels hold names the
proxy knows, never text a client can choose. [alerts.md](../alerts.md) has the alerts that are made of them.
"""


def table(head: tuple[str, ...], lines: Iterator[tuple[str, ...]]) -> str:
    """A table of Markdown."""
    found = [head, tuple("---" for _ in head), *lines]
    return "\n".join(f"| {' | '.join(cell(item) for item in line)} |" for line in found) + "\n"


def cell(text: str) -> str:
    """Text that cannot end a cell."""
    return " ".join(text.split()).replace("|", "\\|")


def settings() -> str:
    """Each setting in each of its three forms."""
    head = ("setting", "flag of `serve`", "variable", "value", "default", "what it is")
    lines = (
        (
            f"`{row.name}`",
            f"`{row.flag}`",
            f"`{row.variable}`",
            row.kind,
            "none" if row.default in (None, "") else f"`{as_yaml(row.default)}`",
            row.description,
        )
        for row in rows()
    )
    intro = "A flag wins over a variable, a variable over a line of `kubewitness.yaml` in the data directory. There, groups nest:\n`journal.deadline` is `deadline` under `journal`. Lists are written with commas in a variable.\n"
    return f"# Settings\n\n{_NOTE}\n{intro}\n{table(head, lines)}"


# --- events ----------------------------------------------------------------------------------


def events() -> str:
    """The members of each kind of record, and every action of system events."""
    said = notes(event)
    parts = [f"# Events\n\n{_NOTE}\n{_EVENTS}"]
    for kind, (title, text) in _KINDS.items():
        parts.append(f"## {title}\n\n{text}\n\n{members(kind, said)}")
    reasons = (
        (f"`{item.value}`", said.get(("CloseReason", item.name), "")) for item in event.CloseReason
    )
    parts.append(f"### Why a call ended\n\n{table(('`closeReason`', 'meaning'), iter(reasons))}")
    parts.append(f"## Actions of system events\n\n{table(('action', 'what happened'), actions())}")
    return "\n".join(parts)


_EVENTS = """The lines of a journal (`D/journal/<writer>/*.jsonl`) are JSON objects. Every record begins with `seq`, dense in its journal,
and `salt`; the others are framing: a header at the beginning of a segment, and a trailer after each batch with its count and checksum.
Members that would be empty are left out. Times are RFC 3339 in UTC with microseconds. `kubewitness audit export -o ndjson` writes
these lines as they are.
"""
_KINDS: dict[type[msgspec.Struct], tuple[str, str]] = {
    event.Call: (
        "Event: a stage of a call",
        "A superset of `Event` in audit.k8s.io/v1. Each has `kind`, `apiVersion`, `level` (`Metadata`), `stage` (`RequestReceived`,\n`ResponseStarted`, `ResponseComplete` or `Panic`), `stageTimestamp`, and:",
    ),
    event.Progress: ("Later stages add", "Every stage after `RequestReceived` also has:"),
    event.User: ("User", "In `user` and `impersonatedUser`:"),
    event.ObjectRef: ("Object", "In `objectRef`:"),
    event.ResponseStatus: ("Status", "In `responseStatus`:"),
    event.ConnectionEvent: (
        "ConnectionEvent: a connection without a call",
        "A connection that ended before it carried a call. It has `kind`, and:",
    ),
    event.SystemEvent: (
        "SystemEvent: an act",
        "An administrative act, allowed or not, a look at the log, or something the proxy did by itself. It has `kind`, and:",
    ),
}


_MEANINGS = {
    "auditID": "A UUIDv7, the same in every record of a call; it is sent to the cluster as `Audit-ID`.",
    "requestReceivedTimestamp": "When the call arrived.",
    "verb": "As kube-apiserver names it: `get`, `list`, `watch`, `create`, `patch`, …",
    "httpMethod": "Method of the request.",
    "cluster": "Name of the cluster.",
    "userAgent": "As the client sent it.",
    "tool": "The tool behind the user agent, one of a fixed set of words.",
    "kubectlCommand": "`Kubectl-Command` as the client sent it; not to be trusted.",
    "kubectlSession": "`Kubectl-Session` as the client sent it: the same for all calls of one command; not to be trusted.",
    "objectRef": "What the call is about, if it is about an object or a kind.",
    "fieldSelector": "Of lists and watches.",
    "labelSelector": "Of lists and watches.",
    "responseStatus": "What was answered.",
    "bytesOut": "Response body bytes, or bytes to the client of an upgraded stream.",
    "closeReason": "Why the call ended, when it did not simply complete; see below.",
    "stageTimestamp": "When it happened.",
    "listener": "`data` or `control`.",
    "message": "For people.",
    "target": "What was acted on.",
    "outcome": "`requested` before the act; then `ok`, `failed: …` or `denied: …`. Left out when it is `ok`; of `audit.state` the new state.",
    "detail": "What else belongs to the action.",
}


def notes(module: Any) -> dict[tuple[str, str], str]:
    """By class and field: the string below it."""
    found: dict[tuple[str, str], str] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, below in zip(node.body, node.body[1:], strict=False):
            name = ""
            if isinstance(field, ast.AnnAssign):
                name = ast.unparse(field.target)
            elif isinstance(field, ast.Assign):
                name = ast.unparse(field.targets[0])
            if name and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[node.name, name] = inspect.cleandoc(str(below.value.value))
    return found


def members(kind: type[msgspec.Struct], said: dict[tuple[str, str], str]) -> str:
    """The members of a record as they are written."""
    lines = (
        (
            f"`{field.encode_name}`",
            plain(field.type),
            said.get((kind.__name__, field.name)) or _MEANINGS.get(field.encode_name, ""),
        )
        for field in msgspec.structs.fields(kind)
    )
    return table(("member", "value", "meaning"), lines)


def plain(kind: Any) -> str:
    """A type as readers of JSON call it."""
    text = str(getattr(kind, "__name__", kind)) if isinstance(kind, type) else str(kind)
    text = re.sub(r"[a-z_.]+\.([A-Z])", r"\1", text).replace(" | None", "")
    if text.startswith("tuple[") or text == "tuple":
        return "list of text"
    if text.startswith("dict"):
        return "object"
    return {"str": "text", "int": "number"}.get(text, f"`{text}`")


def actions() -> Iterator[tuple[str, ...]]:
    """Every action that a system event can have."""
    of_routes = {route.action: route.summary for route in ROUTES if route.action}
    for name in sorted({*of_routes, *OWN_ACTIONS}):
        said = [of_routes.get(name, ""), OWN_ACTIONS.get(name, "")]
        yield f"`{name}`", " ".join(filter(None, said))


# --- the REST API ----------------------------------------------------------------------------


def api() -> str:
    """Each route: what it does, who may, what it takes."""
    found = document(ROUTES)
    by_operation = {route.operation: route for route in ROUTES}
    parts = [f"# REST API\n\n{_NOTE}\n{_API}"]
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            needed = REQUIRED.get((method.upper(), path))
            parts.append(f"## {method.upper()} {path}\n\n{operation['summary']}\n")
            parts.append(
                f"Permission: {f'`{needed}`' if needed else 'none'}. {_recorded(method, path)}\n"
            )
            if conditions := _conditions(operation):
                parts.append(f"{conditions}\n")
            queries = [item for item in operation["parameters"] if item["in"] == "query"]
            route = by_operation[operation["operationId"]]
            if queries:
                said = _said(route.query)
                lines = (
                    (f"`{item['name']}`", _meaning(item["name"], item, said)) for item in queries
                )
                parts.append(table(("query", "meaning"), lines))
            body = operation.get("requestBody")
            if body is not None:
                parts.append(_body(found, body, _said(route.body)))
    return "\n".join(parts)


_API = """The control plane (`control`, by default `127.0.0.1:9443`) speaks HTTPS with client certificates it issued for it
(`D/admin/context.yaml`, `kubewitness context issue`), and with API tokens (`Authorization: Bearer kwt_…`). `/api/v1/openapi.json` is
the whole of it as an OpenAPI 3.1 document, with every schema. Errors are problem details (RFC 9457). Every look at the log and every
act is on record before it has an effect, a change with what was before and after.

A route needs its permission somewhere; what it shows and changes lies where the caller holds it. What does not, is answered like what
does not exist. Lists come in pages: `limit`, and `cursor` with the `next` of the page before.

What can be changed in more than one way has a version: the answer about it has an `ETag`, and with `If-Match` a change is refused (412)
when somebody else made one in between. Each route below says whether it does. Credentials, API tokens, retentions and legal holds have
none: each only ever ends, or is agreed to, once by each person, and a second time is refused (409) or changes nothing.
"""


_EVERYWHERE = {
    "apiGroup": "API group of the resource; empty for the core group.",
    "cluster": "Name of a cluster.",
    "description": "What people should know of it.",
    "displayName": "What people call them.",
    "group": "Name of a group.",
    "kubernetesGroups": "Groups that the cluster sees of whoever has the role there, besides.",
    "limit": "Most items of a page.",
    "name": "Its name.",
    "namespace": "Name of a namespace.",
    "objects": "Documents as `kubewitness apply` takes them.",
    "permissions": "[Permissions](roles.md) here.",
    "places": "Clusters that belong to it: `cluster`, and `namespaces` unless it is the whole of it.",
    "pod": "Name of a pod.",
    "project": "Name of a project.",
    "reason": "Why; it stands in the record.",
    "resource": "`pods`, `deploy`, `deployments.apps`, `pods/exec`.",
    "role": "Name of a [role](roles.md).",
    "scope": "Where: `kind` (`organization`, `project`, `cluster`, `namespace`) and the names that it takes.",
    "serial": "Of a credential, whole.",
    "since": "RFC 3339, or a time ago such as `24h`.",
    "subject": "To whom: `kind` (`user` or `group`) and `name`.",
    "subresource": "Such as `log` or `exec`.",
    "until": "The same; empty is without an end.",
    "user": "Name of a user.",
    "verb": "As kube-apiserver names it: `get`, `list`, `deletecollection`.",
}
"""What a word means wherever the field itself does not say."""


def _conditions(operation: dict[str, Any]) -> str:
    """What a route says and heeds of versions."""
    shown = any("ETag" in answer.get("headers", {}) for answer in operation["responses"].values())
    heeded = any(item["name"] == "If-Match" for item in operation["parameters"])
    said = (("Its answer has an `ETag`.", shown), ("It heeds `If-Match`.", heeded))
    return " ".join(text for text, so in said if so)


def _recorded(method: str, path: str) -> str:
    for route in ROUTES:
        if (route.method.lower(), route.full_path) == (method, path) and route.action:
            return f"On record as `{route.action}`."
    return "Not on record."


def _said(kind: type[msgspec.Struct] | None) -> dict[str, str]:
    """What stands below the fields of a query or a body, also where it inherits them."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__ if kind is not None else ()):
        if not issubclass(base, msgspec.Struct) or base is msgspec.Struct:
            continue
        below = notes(sys.modules[base.__module__])
        for field in msgspec.structs.fields(base):
            if text := below.get((base.__name__, field.name)):
                found[field.encode_name] = text.replace("\n", " ")
    return found


def _meaning(name: str, item: dict[str, Any], said: dict[str, str]) -> str:
    """In the words of the field itself, or of what a word means everywhere in the API."""
    return said.get(name) or item.get("description") or _EVERYWHERE.get(name, "")


def _body(found: dict[str, Any], body: dict[str, Any], said: dict[str, str]) -> str:
    ((_, content),) = body["content"].items()
    schema = content["schema"]
    name = schema.get("$ref", "").rsplit("/", 1)[-1]
    schema = found["components"]["schemas"].get(name, schema)
    required = set(schema.get("required", ()))
    lines = (
        (f"`{key}`", "yes" if key in required else "no", _meaning(key, item, said))
        for key, item in schema.get("properties", {}).items()
    )
    return table(("body", "required", "meaning"), lines)


# --- commands --------------------------------------------------------------------------------


def commands() -> str:
    """Each command with its options, as its --help has them."""
    parts = [f"# Commands\n\n{_NOTE}\n{_COMMANDS}"]
    for words, command in _walk(typer.main.get_group(app), ()):
        parts.append(f"## kubewitness {words}\n\n{_prose(command.help)}\n")
        lines = []
        for parameter in command.params:
            name = ", ".join(f"`{item}`" for item in [*parameter.opts, *parameter.secondary_opts])
            if parameter.param_type_name == "argument":
                name = f"`{(parameter.metavar or parameter.name).upper()}`"
            if "--help" not in name:
                lines.append((name, _prose(getattr(parameter, "help", "") or "")))
        if lines:
            parts.append(table(("option", "meaning"), iter(lines)))
        if command.epilog:
            parts.append("```\n" + _examples(command.epilog) + "\n```\n")
    return "\n".join(parts)


_COMMANDS = """`kubewitness COMMAND --help` says the same. Settings are options of `serve` and `init` as well, see
[settings](settings.md). `--install-completion` sets up completion for the shell it is run in; packages bring the same scripts
(`deploy/completion`). `--debug` before a command shows where an error happened. Exit codes: 0 done, 1 failed, 2 not understood,
others with the error they stand for.
"""


def _walk(group: Any, above: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        words = (*above, name)
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _walk(command, words)
        else:
            yield " ".join(words), command


def _prose(text: str | None) -> str:
    return re.sub(r"\[/?[a-z ]*\]", "", inspect.cleandoc(text or "")).strip()


def _examples(text: str) -> str:
    lines = (line.strip() for line in inspect.cleandoc(text).splitlines())
    return "\n".join(line for line in lines if line)

"""Server-side tables: what `kubectl get` prints.

A table is asked for with `Accept: application/json;as=Table;…`. One entry of COLUMNS per kind:
the column definitions and the cells of one object.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from proxy.sandbox import kinds
from proxy.sandbox.kinds import Kind
from proxy.sandbox.objects import (
    Object,
    condition,
    is_deleting,
    labels_of,
    name_of,
    seconds_of,
    spec_of,
    status_of,
)

Cells = list[Any]
Row = Callable[[Object, float], Cells]


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns after the name, those of `-o wide` marked by a star, and the cells for them."""

    columns: tuple[str, ...]
    row: Row


def age(item: Object, now: float) -> str:
    """How long ago the object was made, as kubectl writes durations."""
    stamp = item.get("metadata", {}).get("creationTimestamp")
    return duration(now - seconds_of(stamp)) if stamp else "<unknown>"


def duration(seconds: float) -> str:
    """A length of time in the two largest units that matter: 45s, 3m20s, 5h, 2d3h."""
    total = max(int(seconds), 0)
    if total < 120:
        return f"{total}s"
    minutes, rest = divmod(total, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours, rest = divmod(minutes, 60)
    if hours < 8:
        return f"{hours}h{rest}m" if rest else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days, rest = divmod(hours, 24)
    return f"{days}d{rest}h" if days < 8 and rest else f"{days}d"


def _listed(values: Iterable[object]) -> str:
    return ",".join(str(value) for value in values) or "<none>"


def _selector(selector: Object) -> str:
    return _listed(f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items())


def _containers(item: Object) -> list[Object]:
    found: list[Object] = spec_of(item).get("template", {}).get("spec", {}).get("containers") or []
    return found


def pod_reason(pod: Object) -> str:
    """The STATUS column of a pod: its phase, or the reason of what is more telling."""
    if is_deleting(pod):
        return "Terminating"
    status = status_of(pod)
    for container in status.get("containerStatuses") or []:
        state = container.get("state") or {}
        for part in ("waiting", "terminated"):
            if state.get(part, {}).get("reason"):
                return str(state[part]["reason"])
    return str(status.get("reason") or status.get("phase", "Unknown"))


def _pod(pod: Object, now: float) -> Cells:
    status = status_of(pod)
    statuses = status.get("containerStatuses") or []
    ready = sum(1 for entry in statuses if entry.get("ready"))
    gates = spec_of(pod).get("readinessGates") or []
    return [
        f"{ready}/{len(spec_of(pod).get('containers') or [])}",
        pod_reason(pod),
        str(sum(entry.get("restartCount", 0) for entry in statuses)),
        age(pod, now),
        status.get("podIP") or "<none>",
        spec_of(pod).get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        f"0/{len(gates)}" if gates else "<none>",
    ]


def _deployment(item: Object, now: float) -> Cells:
    status, containers = status_of(item), _containers(item)
    return [
        f"{status.get('readyReplicas', 0)}/{spec_of(item).get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(item, now),
        _listed(entry["name"] for entry in containers),
        _listed(entry["image"] for entry in containers),
        _selector(spec_of(item).get("selector") or {}),
    ]


def _replica_set(item: Object, now: float) -> Cells:
    status, containers = status_of(item), _containers(item)
    return [
        spec_of(item).get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(item, now),
        _listed(entry["name"] for entry in containers),
        _listed(entry["image"] for entry in containers),
        _selector(spec_of(item).get("selector") or {}),
    ]


def _job(item: Object, now: float) -> Cells:
    status, containers = status_of(item), _containers(item)
    started, ended = status.get("startTime"), status.get("completionTime")
    length = "<none>"
    if started:
        length = duration((seconds_of(ended) if ended else now) - seconds_of(started))
    state = "Complete" if condition(item, "Complete") else "Running"
    return [
        "Failed" if condition(item, "Failed") else state,
        f"{status.get('succeeded', 0)}/{spec_of(item).get('completions', 1)}",
        length,
        age(item, now),
        _listed(entry["name"] for entry in containers),
        _listed(entry["image"] for entry in containers),
        _selector(spec_of(item).get("selector") or {}),
    ]


def _service(item: Object, now: float) -> Cells:
    spec = spec_of(item)
    ports = (
        f"{port['port']}{':' + str(port['nodePort']) if port.get('nodePort') else ''}/{port['protocol']}"
        for port in spec.get("ports") or []
    )
    external = spec.get("externalName") or _listed(spec.get("externalIPs") or [])
    if spec.get("type") == "LoadBalancer":
        external = "<pending>"
    return [
        spec.get("type"),
        spec.get("clusterIP") or "<none>",
        external,
        _listed(ports),
        age(item, now),
        _selector({"matchLabels": spec.get("selector")}),
    ]


def _node(node: Object, now: float) -> Cells:
    status = status_of(node)
    info = status.get("nodeInfo") or {}
    prefix = "node-role.kubernetes.io/"
    roles = sorted(key.removeprefix(prefix) for key in labels_of(node) if key.startswith(prefix))
    state = "Ready" if condition(node, "Ready").get("status") == "True" else "NotReady"
    if spec_of(node).get("unschedulable"):
        state += ",SchedulingDisabled"
    addresses = {entry["type"]: entry["address"] for entry in status.get("addresses") or []}
    return [
        state,
        _listed(roles),
        age(node, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        "<none>",
        info.get("osImage", ""),
        info.get("kernelVersion", ""),
        info.get("containerRuntimeVersion", ""),
    ]


def _event(item: Object, now: float) -> Cells:
    target = item.get("involvedObject") or {}
    last = item.get("lastTimestamp") or item["metadata"]["creationTimestamp"]
    first = item.get("firstTimestamp") or last
    count = item.get("count", 1)
    seen = duration(now - seconds_of(last))
    if count > 1:
        seen += f" (x{count} over {duration(now - seconds_of(first))})"
    return [
        seen,
        item.get("type", ""),
        item.get("reason", ""),
        f"{str(target.get('kind', '')).lower()}/{target.get('name', '')}",
        target.get("fieldPath", ""),
        _listed([item.get("source", {}).get("component", "")]),
        str(item.get("message", "")).strip(),
        duration(now - seconds_of(first)),
        count,
        name_of(item),
    ]


def _data(item: Object, now: float) -> Cells:
    return [len(item.get("data") or {}) + len(item.get("binaryData") or {}), age(item, now)]


def _slice(item: Object, now: float) -> Cells:
    addresses = [address for entry in item.get("endpoints") or [] for address in entry["addresses"]]
    more = f" + {len(addresses) - 3} more..." if len(addresses) > 3 else ""
    ports = _listed(port.get("port", "*") for port in item.get("ports") or [])
    return [item.get("addressType", ""), ports, _listed(addresses[:3]) + more, age(item, now)]


def _secret(item: Object, now: float) -> Cells:
    return [item.get("type", "Opaque"), len(item.get("data") or {}), age(item, now)]


_TEMPLATE = ("Containers*", "Images*", "Selector*")
LAYOUTS: Final[dict[Kind, Layout]] = {
    kinds.POD: Layout(
        ("Ready", "Status", "Restarts", "Age", "IP*", "Node*", "Nominated Node*", "Readiness Gates*"),
        _pod,
    ),
    kinds.DEPLOYMENT: Layout(("Ready", "Up-to-date:integer", "Available:integer", "Age", *_TEMPLATE), _deployment),
    kinds.REPLICA_SET: Layout(
        ("Desired:integer", "Current:integer", "Ready:integer", "Age", *_TEMPLATE), _replica_set
    ),
    kinds.JOB: Layout(("Status", "Completions", "Duration", "Age", *_TEMPLATE), _job),
    kinds.SERVICE: Layout(
        ("Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector*"), _service
    ),
    kinds.NODE: Layout(
        ("Status", "Roles", "Age", "Version", "Internal-IP*", "External-IP*", "OS-Image*",
         "Kernel-Version*", "Container-Runtime*"),
        _node,
    ),
    kinds.EVENT: Layout(
        ("Last Seen", "Type", "Reason", "Object", "Subobject*", "Source*", "Message",
         "First Seen*", "Count*:integer", "Name*"),
        _event,
    ),
    kinds.CONFIG_MAP: Layout(("Data:integer", "Age"), _data),
    kinds.SECRET: Layout(("Type", "Data:integer", "Age"), _secret),
    kinds.ENDPOINT_SLICE: Layout(("AddressType", "Ports", "Endpoints", "Age"), _slice),
    kinds.SERVICE_ACCOUNT: Layout(("Age",), lambda item, now: [age(item, now)]),
    kinds.NAMESPACE: Layout(
        ("Status", "Age"), lambda item, now: [status_of(item).get("phase", ""), age(item, now)]
    ),
}  # fmt: skip
_PLAIN: Final = Layout(("Age",), lambda item, now: [age(item, now)])


def columns(kind: Kind) -> list[Object]:
    """The column definitions of a kind's table."""
    layout = LAYOUTS.get(kind, _PLAIN)
    named = layout.columns if kind is kinds.EVENT else ("Name", *layout.columns)
    return [_column(entry) for entry in named]


def _column(entry: str) -> Object:
    title, _, kind = entry.partition(":")
    plain = title.rstrip("*")
    return {
        "name": plain,
        "type": kind or "string",
        "format": "name" if plain == "Name" else "",
        "description": f"{plain} of the object.",
        "priority": 1 if title.endswith("*") else 0,
    }


def table(
    kind: Kind, items: list[Object], now: float, *, include: str, header: bool = True
) -> Object:
    """`items` as a Table. `include` is None, Metadata or Object: what comes along with each row."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": columns(kind) if header else [],
        "rows": [_table_row(kind, item, now, include) for item in items],
    }


def _table_row(kind: Kind, item: Object, now: float, include: str) -> Object:
    cells = LAYOUTS.get(kind, _PLAIN).row(item, now)
    row: Object = {"cells": cells if kind is kinds.EVENT else [name_of(item), *cells]}
    if include == "Object":
        row["object"] = item
    elif include == "Metadata":
        row["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": item["metadata"],
        }
    return row

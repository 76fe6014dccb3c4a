"""Kubernetes objects as plain dictionaries, and the few questions everyone asks of them.

Objects in the store are never changed in place: whoever wants to change one copies it first.
"""

import json
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]

copy = deepcopy


def name_of(item: Object) -> str:
    """The object's name, empty while it has none."""
    return str(item.get("metadata", {}).get("name", ""))


def namespace_of(item: Object) -> str:
    """The object's namespace, empty for cluster-scoped ones."""
    return str(item.get("metadata", {}).get("namespace", ""))


def uid_of(item: Object) -> str:
    """The object's uid."""
    return str(item["metadata"]["uid"])


def labels_of(item: Object) -> dict[str, str]:
    """The object's labels, empty when it has none."""
    return item.get("metadata", {}).get("labels") or {}


def spec_of(item: Object) -> Object:
    """The object's spec, empty when it has none."""
    return item.get("spec") or {}


def status_of(item: Object) -> Object:
    """The object's status, empty when it has none."""
    return item.get("status") or {}


def is_deleting(item: Object) -> bool:
    """Whether deletion was asked for and has not finished."""
    return bool(item.get("metadata", {}).get("deletionTimestamp"))


def owners_of(item: Object) -> list[Object]:
    """The owner references of the object."""
    return item.get("metadata", {}).get("ownerReferences") or []


def is_owned_by(item: Object, owner: Object) -> bool:
    """Whether `owner` is among the owners of `item`, compared by uid."""
    uid = uid_of(owner)
    return any(reference.get("uid") == uid for reference in owners_of(item))


def owner_reference(owner: Object) -> Object:
    """A controlling owner reference to `owner`."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def condition(item: Object, kind: str) -> Object:
    """The status condition of type `kind`, empty when there is none."""
    for entry in status_of(item).get("conditions") or []:
        if entry.get("type") == kind:
            return dict(entry)
    return {}


def is_ready(pod: Object) -> bool:
    """Whether a pod's Ready condition is true and it is not on its way out."""
    return condition(pod, "Ready").get("status") == "True" and not is_deleting(pod)


def timestamp(seconds: float) -> str:
    """Unix `seconds` as `metav1.Time` writes it: RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(stamp: str) -> float:
    """The Unix time of an RFC 3339 `stamp`. Raises ValueError when it is none."""
    return datetime.fromisoformat(stamp).timestamp()


def canonical(value: object) -> str:
    """`value` as JSON that is equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))

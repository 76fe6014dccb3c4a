"""Tidying up: dependents of what is gone, and the contents of namespaces that are going."""

from proxy.sandbox.guarding import attempt
from proxy.sandbox.kinds import EVENT, NAMESPACE, SERVICE_ACCOUNT, STORED, Kind
from proxy.sandbox.objects import (
    Object,
    is_deleting,
    is_owned_by,
    name_of,
    namespace_of,
    owners_of,
    uid_of,
)
from proxy.sandbox.registry import Deletion, Registry

_FOREGROUND = "foregroundDeletion"


def reconcile(registry: Registry) -> None:
    """Delete what has lost its owner or its namespace, and let go what waits for nothing more."""
    everything = [(kind, item) for kind in STORED for item in registry.store.items(kind)]
    living = {uid_of(item) for _, item in everything}
    for kind, item in everything:
        references = owners_of(item)
        if references and not any(reference.get("uid") in living for reference in references):
            attempt(item, _start, registry, kind, item)
    for kind, item in everything:
        if _FOREGROUND in (item["metadata"].get("finalizers") or []) and is_deleting(item):
            attempt(item, _foreground, registry, kind, item)
    for home in registry.store.items(NAMESPACE):
        if is_deleting(home):
            attempt(home, _empty, registry, home)
        else:
            attempt(home, _populate, registry, home)


def _start(registry: Registry, kind: Kind, item: Object) -> None:
    present = registry.store.get(kind, namespace_of(item), name_of(item))
    if present is not None and not is_deleting(present):
        registry.delete(kind, present)


def _foreground(registry: Registry, kind: Kind, owner: Object) -> None:
    dependents = [
        (other, item)
        for other in STORED
        for item in registry.store.items(other, namespace_of(owner))
        if is_owned_by(item, owner)
    ]
    for other, item in dependents:
        if not is_deleting(item):
            registry.delete(other, item, Deletion(propagation="Foreground"))
    if not dependents and registry.store.get(kind, namespace_of(owner), name_of(owner)):
        registry.mutate(kind, owner, _drop_finalizer)


def _drop_finalizer(item: Object) -> None:
    kept = [name for name in item["metadata"].get("finalizers") or [] if name != _FOREGROUND]
    item["metadata"]["finalizers"] = kept


def _empty(registry: Registry, home: Object) -> None:
    contents = [
        (kind, item)
        for kind in STORED
        if kind.namespaced
        for item in registry.store.items(kind, name_of(home))
    ]
    for kind, item in contents:
        if kind is EVENT:
            registry.store.remove(kind, item)
        else:
            _start(registry, kind, item)
    left = any(registry.store.items(kind, name_of(home)) for kind, _ in contents)
    if not left and not home["metadata"].get("finalizers"):
        registry.store.remove(NAMESPACE, home)


def _populate(registry: Registry, home: Object) -> None:
    if registry.store.get(SERVICE_ACCOUNT, name_of(home), "default") is None:
        registry.create(SERVICE_ACCOUNT, name_of(home), {"metadata": {"name": "default"}})

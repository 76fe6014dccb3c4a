"""Events: the notes that controllers and the node leave about objects."""

from proxy.sandbox.failures import ApiError
from proxy.sandbox.kinds import EVENT, NAMESPACE
from proxy.sandbox.objects import Object, name_of, namespace_of, uid_of
from proxy.sandbox.registry import Registry

#: Events kept per namespace; the oldest go first. A real server keeps them for an hour.
KEPT = 200


def note(
    registry: Registry,
    about: Object,
    reason: str,
    message: str,
    *,
    component: str,
    kind: str = "Normal",
    field_path: str = "",
) -> None:
    """Record an event about an object; one that repeats is counted up instead."""
    namespace = namespace_of(about) or "default"
    for known in registry.store.items(EVENT, namespace):
        same = (known["reason"], known["message"]) == (reason, message)
        if same and known["involvedObject"].get("uid") == uid_of(about):
            registry.mutate(EVENT, known, lambda item: _again(item, registry.now()))
            return
    home = registry.store.get(NAMESPACE, "", namespace)
    if home is None:
        return
    target = {
        "kind": about["kind"],
        "namespace": namespace_of(about),
        "name": name_of(about),
        "uid": uid_of(about),
        "apiVersion": about["apiVersion"],
        "resourceVersion": about["metadata"].get("resourceVersion", ""),
    }
    if field_path:
        target["fieldPath"] = field_path
    stamp = registry.now()
    event: Object = {
        "metadata": {
            "name": f"{name_of(about)}.{registry.store.revision:016x}",
            "namespace": namespace,
        },
        "involvedObject": target,
        "reason": reason,
        "message": message,
        "source": {"component": component},
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
        "type": kind,
        "eventTime": None,
        "reportingComponent": component,
        "reportingInstance": "",
    }
    try:
        registry.create(EVENT, namespace, event)
    except ApiError:
        # The namespace went away in between; so does the note.
        return
    _forget_oldest(registry, namespace)


def _again(event: Object, stamp: str) -> None:
    event["count"] = event.get("count", 1) + 1
    event["lastTimestamp"] = stamp


def _forget_oldest(registry: Registry, namespace: str) -> None:
    events = registry.store.items(EVENT, namespace)
    surplus = len(events) - KEPT
    if surplus > 0:
        by_age = sorted(events, key=lambda item: str(item.get("lastTimestamp", "")))
        for event in by_age[:surplus]:
            registry.store.remove(EVENT, event)

"""The controllers of deployments, replica sets and jobs: from what is wanted to what is next."""

import hashlib
import math
from typing import Final

from proxy.sandbox import recording
from proxy.sandbox.guarding import attempt
from proxy.sandbox.kinds import DEPLOYMENT, JOB, POD, REPLICA_SET, Kind
from proxy.sandbox.objects import (
    Object,
    canonical,
    condition,
    copy,
    is_deleting,
    is_owned_by,
    is_ready,
    name_of,
    namespace_of,
    owner_reference,
    spec_of,
    status_of,
)
from proxy.sandbox.registry import Registry, random_suffix

REVISION: Final = "deployment.kubernetes.io/revision"
HASH: Final = "pod-template-hash"
_ENDED: Final = ("Succeeded", "Failed")


def template_hash(template: Object) -> str:
    """A short name for a pod template: equal templates, equal names."""
    digest = hashlib.sha256(canonical(template).encode()).hexdigest()
    return digest[:10].translate(str.maketrans("0123456789abcdef", "456789bcdfghjklm"))


def reconcile(registry: Registry) -> None:
    """Take every workload one step closer to its spec."""
    for deployment in registry.store.items(DEPLOYMENT):
        if not is_deleting(deployment):
            attempt(deployment, _deployment, registry, deployment)
    for replica_set in registry.store.items(REPLICA_SET):
        if not is_deleting(replica_set):
            attempt(replica_set, _replica_set, registry, replica_set)
    for job in registry.store.items(JOB):
        if not is_deleting(job):
            attempt(job, _job, registry, job)


def _owned(registry: Registry, kind: Kind, owner: Object) -> list[Object]:
    items = registry.store.items(kind, namespace_of(owner))
    return [item for item in items if is_owned_by(item, owner)]


def _revision(item: Object) -> int:
    return int((item["metadata"].get("annotations") or {}).get(REVISION, 0))


def _deployment(registry: Registry, deployment: Object) -> None:
    owned = _owned(registry, REPLICA_SET, deployment)
    spec = spec_of(deployment)
    name = f"{name_of(deployment)}-{template_hash(spec['template'])}"
    new = next((item for item in owned if name_of(item) == name), None)
    old = [item for item in owned if name_of(item) != name]
    if not spec.get("paused"):
        waiting = spec["strategy"]["type"] == "Recreate" and any(
            status_of(item).get("replicas", 0) for item in old
        )
        if new is None and not waiting:
            new = _new_replica_set(registry, deployment, name, old)
        if new is not None:
            new = _newest(registry, deployment, new, old)
        _roll(registry, deployment, new, old)
    elif new is not None and not old:
        _resize(registry, deployment, new, spec["replicas"])
    _deployment_status(registry, deployment, name)
    for item in sorted(old, key=_revision)[: -spec["revisionHistoryLimit"] or len(old)]:
        if not spec_of(item)["replicas"] and not status_of(item).get("replicas"):
            registry.delete(REPLICA_SET, item)


def _new_replica_set(
    registry: Registry, deployment: Object, name: str, old: list[Object]
) -> Object:
    spec = copy(spec_of(deployment))
    extra = {HASH: name.rpartition("-")[2]}
    template, selector = spec["template"], spec["selector"]
    template["metadata"]["labels"] = {**(template["metadata"].get("labels") or {}), **extra}
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), **extra}
    body: Object = {
        "metadata": {
            "name": name,
            "labels": dict(template["metadata"]["labels"]),
            "annotations": {REVISION: str(max(map(_revision, old), default=0) + 1)},
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
    }
    return registry.create(REPLICA_SET, namespace_of(deployment), body)


def _newest(registry: Registry, deployment: Object, new: Object, old: list[Object]) -> Object:
    # A rollback finds the replica set of an earlier revision and makes it the newest again.
    latest = max(map(_revision, old), default=0)
    if _revision(new) <= latest:
        new = registry.mutate(REPLICA_SET, new, lambda item: _annotate(item, latest + 1))
    if _revision(deployment) != _revision(new):
        revision = _revision(new)
        registry.mutate(DEPLOYMENT, deployment, lambda item: _annotate(item, revision))
    cause = (deployment["metadata"].get("annotations") or {}).get("kubernetes.io/change-cause")
    if cause and new["metadata"]["annotations"].get("kubernetes.io/change-cause") != cause:
        key = "kubernetes.io/change-cause"
        new = registry.mutate(
            REPLICA_SET, new, lambda item: item["metadata"]["annotations"].update({key: cause})
        )
    return new


def _annotate(item: Object, revision: int) -> None:
    item["metadata"].setdefault("annotations", {})[REVISION] = str(revision)


def _share(value: object, total: int, *, up: bool) -> int:
    if isinstance(value, str) and value.endswith("%"):
        part = total * int(value[:-1]) / 100
        return math.ceil(part) if up else math.floor(part)
    return int(str(value))


def _roll(registry: Registry, deployment: Object, new: Object | None, old: list[Object]) -> None:
    spec = spec_of(deployment)
    wanted = spec["replicas"]
    if new is None:
        surge, unavailable = 0, wanted
    else:
        rolling = spec["strategy"].get("rollingUpdate") or {}
        surge = _share(rolling.get("maxSurge", 0), wanted, up=True)
        unavailable = _share(rolling.get("maxUnavailable", wanted), wanted, up=False)
        if not surge and not unavailable:
            unavailable = 1
        standing = sum(spec_of(item)["replicas"] for item in old)
        room = max(wanted + surge - standing, 0)
        _resize(
            registry, deployment, new, min(wanted, max(room, min(spec_of(new)["replicas"], wanted)))
        )
    ready = sum(status_of(item).get("readyReplicas", 0) for item in [*old, *([new] if new else [])])
    surplus = ready - (wanted - unavailable)
    for item in sorted(old, key=_revision):
        have, healthy = spec_of(item)["replicas"], status_of(item).get("readyReplicas", 0)
        # Copies that never became ready protect nobody: they go first and freely.
        going = (have - healthy) + max(min(healthy, surplus), 0)
        surplus -= max(going - (have - healthy), 0)
        if have and going:
            _resize(registry, deployment, item, have - going)


def _resize(registry: Registry, deployment: Object, item: Object, replicas: int) -> None:
    have = spec_of(item)["replicas"]
    if have == replicas:
        return
    registry.mutate(REPLICA_SET, item, lambda it: it["spec"].update(replicas=replicas))
    way = "up" if replicas > have else "down"
    message = f"Scaled {way} replica set {name_of(item)} from {have} to {replicas}"
    recording.note(
        registry, deployment, "ScalingReplicaSet", message, component="deployment-controller"
    )


def _deployment_status(registry: Registry, deployment: Object, newest: str) -> None:
    owned = _owned(registry, REPLICA_SET, deployment)
    wanted = spec_of(deployment)["replicas"]
    updated = sum(status_of(it).get("replicas", 0) for it in owned if name_of(it) == newest)
    total = sum(status_of(it).get("replicas", 0) for it in owned)
    ready = sum(status_of(it).get("readyReplicas", 0) for it in owned)
    rolling = spec_of(deployment)["strategy"].get("rollingUpdate") or {}
    least = wanted - _share(rolling.get("maxUnavailable", 0), wanted, up=False)
    done = updated == total == ready == wanted
    counts = {
        "replicas": total,
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(wanted - ready, 0),
    }
    status: Object = {key: value for key, value in counts.items() if value}
    status["observedGeneration"] = deployment["metadata"].get("generation", 1)
    status["conditions"] = [
        _available(registry, deployment, ready >= least),
        _progressing(registry, deployment, newest, done=done),
    ]
    _set_status(registry, DEPLOYMENT, deployment, status)


def _available(registry: Registry, item: Object, yes: bool) -> Object:
    reason = "MinimumReplicasAvailable" if yes else "MinimumReplicasUnavailable"
    has = "has" if yes else "does not have"
    return set_condition(
        registry, item, "Available", reason, f"Deployment {has} minimum availability.", status=yes
    )


def _progressing(registry: Registry, item: Object, newest: str, *, done: bool) -> Object:
    reason = "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"
    ends = "has successfully progressed." if done else "is progressing."
    return set_condition(
        registry, item, "Progressing", reason, f'ReplicaSet "{newest}" {ends}', status=True
    )


def set_condition(
    registry: Registry, item: Object, kind: str, reason: str, message: str, *, status: bool
) -> Object:
    """A status condition for `item`; its times move only when something about it does."""
    have = condition(item, kind)
    value, stamp = str(status), registry.now()
    same_status = have.get("status") == value
    same = same_status and (have.get("reason"), have.get("message")) == (reason, message)
    return {
        "type": kind,
        "status": value,
        "lastUpdateTime": have["lastUpdateTime"] if same and "lastUpdateTime" in have else stamp,
        "lastTransitionTime": have["lastTransitionTime"] if same_status else stamp,
        "reason": reason,
        "message": message,
    }


def _set_status(registry: Registry, kind: Kind, item: Object, status: Object) -> None:
    registry.mutate(kind, item, lambda it: it.update(status=status), status=True)


def _replica_set(registry: Registry, item: Object) -> None:
    pods = [pod for pod in _owned(registry, POD, item) if status_of(pod).get("phase") not in _ENDED]
    living = [pod for pod in pods if not is_deleting(pod)]
    wanted = spec_of(item)["replicas"]
    for _ in range(wanted - len(living)):
        pod = _new_pod(registry, item)
        note = f"Created pod: {name_of(pod)}"
        recording.note(registry, item, "SuccessfulCreate", note, component="replicaset-controller")
        living.append(pod)
    # The unready and the youngest go first.
    doomed = sorted(
        living, key=lambda pod: (is_ready(pod), -int(pod["metadata"]["resourceVersion"]))
    )
    for pod in doomed[: len(living) - wanted]:
        registry.delete(POD, pod)
        note = f"Deleted pod: {name_of(pod)}"
        recording.note(registry, item, "SuccessfulDelete", note, component="replicaset-controller")
        living.remove(pod)
    ready = sum(map(is_ready, living))
    status: Object = {"replicas": len(living)}
    if living:
        status["fullyLabeledReplicas"] = len(living)
    if ready:
        status |= {"readyReplicas": ready, "availableReplicas": ready}
    status["observedGeneration"] = item["metadata"].get("generation", 1)
    _set_status(registry, REPLICA_SET, item, status)


def _new_pod(registry: Registry, owner: Object) -> Object:
    template = copy(spec_of(owner)["template"])
    meta = {
        key: template["metadata"][key]
        for key in ("labels", "annotations")
        if template["metadata"].get(key)
    }
    meta["name"] = f"{name_of(owner)}-{random_suffix()}"
    meta["generateName"] = f"{name_of(owner)}-"
    meta["ownerReferences"] = [owner_reference(owner)]
    return registry.create(POD, namespace_of(owner), {"metadata": meta, "spec": template["spec"]})


def _job(registry: Registry, job: Object) -> None:
    if condition(job, "Complete") or condition(job, "Failed") or spec_of(job).get("suspend"):
        return
    spec, pods = spec_of(job), _owned(registry, POD, job)
    succeeded = sum(1 for pod in pods if status_of(pod).get("phase") == "Succeeded")
    failed = sum(1 for pod in pods if status_of(pod).get("phase") == "Failed")
    active = [pod for pod in pods if status_of(pod).get("phase") not in _ENDED]
    missing = min(spec["parallelism"], spec["completions"] - succeeded) - len(active)
    for _ in range(missing):
        pod = _new_pod(registry, job)
        active.append(pod)
        note = f"Created pod: {name_of(pod)}"
        recording.note(registry, job, "SuccessfulCreate", note, component="job-controller")
    counts = {"active": len(active), "succeeded": succeeded, "failed": failed}
    status: Object = {key: value for key, value in counts.items() if value}
    status["ready"] = sum(map(is_ready, active))
    status["startTime"] = status_of(job).get("startTime", registry.now())
    if succeeded >= spec["completions"]:
        status["completionTime"] = registry.now()
        text = "Reached expected number of succeeded pods"
        status["conditions"] = [
            set_condition(registry, job, kind, "CompletionsReached", text, status=True)
            for kind in ("SuccessCriteriaMet", "Complete")
        ]
        recording.note(registry, job, "Completed", "Job completed", component="job-controller")
    _set_status(registry, JOB, job, status)

"""The invented nodes: they take pods, start their containers after a moment, and stop them.

An image whose name holds `broken`, or whose tag is `missing`, cannot be pulled, to show what that
looks like. Containers of jobs and of pods that are not to be restarted end well after a while.
"""

from typing import Final

from proxy.sandbox import pod_status, recording
from proxy.sandbox.guarding import attempt
from proxy.sandbox.kinds import NODE, POD
from proxy.sandbox.objects import (
    Object,
    condition,
    is_deleting,
    name_of,
    namespace_of,
    spec_of,
    status_of,
    uid_of,
)
from proxy.sandbox.registry import Registry

#: Seconds from placing a pod to its containers running.
START: Final = 0.6
#: Seconds a container takes to stop when asked; less than any grace people set.
STOP: Final = 0.4
#: Seconds that a container runs whose pod is not to be restarted.
RUN_ONCE: Final = 2.0


class Nodes:
    """What the nodes remember of their pods: since when each is in its present step."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._since: dict[tuple[str, str], float] = {}

    def reconcile(self) -> float | None:
        """Take every pod one step on; gives the seconds until the next step is due, if any is."""
        pods = self._registry.store.items(POD)
        waits = [wait for pod in pods if (wait := attempt(pod, self._step, pod)) is not None]
        present = {uid_of(pod) for pod in self._registry.store.items(POD)}
        self._since = {key: at for key, at in self._since.items() if key[0] in present}
        return min(waits, default=None)

    def _due(self, pod: Object, step: str, after: float) -> float:
        """Seconds until `after` seconds have passed since the pod came to `step`."""
        now = self._registry.clock.monotonic()
        return self._since.setdefault((uid_of(pod), step), now) + after - now

    def _step(self, pod: Object) -> float | None:
        phase = status_of(pod).get("phase", "Pending")
        if is_deleting(pod):
            return self._stop(pod)
        if phase == "Pending":
            return self._start(pod) if spec_of(pod).get("nodeName") else self._place(pod)
        if phase == "Running":
            self._follow_image(pod)
            if spec_of(pod)["restartPolicy"] != "Always":
                return self._end(pod)
        return None

    def _stop(self, pod: Object) -> float | None:
        grace = pod["metadata"].get("deletionGracePeriodSeconds", 0)
        wait = self._due(pod, "stop", min(STOP, grace))
        if wait > 0:
            return wait
        if pod["metadata"].get("finalizers"):
            return None
        for container in spec_of(pod)["containers"]:
            self._note(pod, "Killing", f"Stopping container {container['name']}", container)
        self._registry.store.remove(POD, pod)
        return None

    def _place(self, pod: Object) -> float | None:
        nodes = [node for node in self._registry.store.items(NODE) if _takes(node)]
        if not nodes:
            if not condition(pod, "PodScheduled"):
                self._note(pod, "FailedScheduling", "no node is available", kind="Warning")
                set_status(self._registry, pod, pod_status.unplaced(self._registry.now()))
            return None
        load = {name_of(node): 0 for node in nodes}
        for other in self._registry.store.items(POD):
            home = spec_of(other).get("nodeName")
            if home in load:
                load[home] += 1
        chosen = min(sorted(load), key=lambda name: load[name])
        placed = self._registry.mutate(POD, pod, lambda item: item["spec"].update(nodeName=chosen))
        where = f"{namespace_of(pod)}/{name_of(pod)}"
        self._note(pod, "Scheduled", f"Successfully assigned {where} to {chosen}")
        status = pod_status.creating(placed, self._registry.now())
        set_status(self._registry, placed, status)
        return 0.0

    def _start(self, pod: Object) -> float | None:
        if any(_is_stuck(entry) for entry in status_of(pod).get("containerStatuses") or []):
            return None
        wait = self._due(pod, "start", START)
        if wait > 0:
            return wait
        set_status(self._registry, pod, pod_status.running(pod, self._registry.now()))
        for container in spec_of(pod)["containers"]:
            name, image = container["name"], container["image"]
            if pod_status.cannot_pull(image):
                message = f'Failed to pull image "{image}": not found'
                self._note(pod, "Failed", message, container, kind="Warning")
                continue
            present = f'Container image "{image}" already present on machine'
            self._note(pod, "Pulled", present, container)
            self._note(pod, "Created", f"Container created: {name}", container)
            self._note(pod, "Started", "Container started", container)
        return None

    def _follow_image(self, pod: Object) -> None:
        # The image of a running container may change; it restarts with the new one.
        statuses = status_of(pod).get("containerStatuses") or []
        now = {entry["name"]: entry["image"] for entry in statuses}
        wanted = {entry["name"]: entry["image"] for entry in spec_of(pod)["containers"]}
        if now != wanted:
            restart(self._registry, pod)

    def _end(self, pod: Object) -> float | None:
        length = run_time(spec_of(pod)["containers"][0])
        if length is None:
            return None
        wait = self._due(pod, "end", length)
        if wait <= 0:
            finish(self._registry, pod, 0)
        return wait if wait > 0 else None

    def _note(
        self,
        pod: Object,
        reason: str,
        message: str,
        container: Object | None = None,
        *,
        kind: str = "Normal",
    ) -> None:
        path = f"spec.containers{{{container['name']}}}" if container else ""
        component = "kubelet" if container else "default-scheduler"
        recording.note(
            self._registry, pod, reason, message, component=component, kind=kind, field_path=path
        )


def set_status(registry: Registry, pod: Object, status: Object) -> None:
    """Store a pod's status."""
    registry.mutate(POD, pod, lambda item: item.update(status=status), status=True)


def restart(registry: Registry, pod: Object) -> None:
    """Start the containers of a running pod once more."""
    statuses = status_of(pod).get("containerStatuses") or []
    restarts = max((entry["restartCount"] for entry in statuses), default=0) + 1
    set_status(registry, pod, pod_status.running(pod, registry.now(), restarts=restarts))


def finish(registry: Registry, pod: Object, code: int) -> None:
    """A container's program has ended: the pod ends with it, or the container starts again."""
    policy = spec_of(pod)["restartPolicy"]
    if policy == "Always" or (policy == "OnFailure" and code):
        restart(registry, pod)
    else:
        set_status(registry, pod, pod_status.ended(pod, registry.now(), code))


def run_time(container: Object) -> float | None:
    """Seconds that a container runs which is not restarted; None for one that was told to stay."""
    words = " ".join([*(container.get("command") or []), *(container.get("args") or [])]).split()
    if container.get("stdin") or "infinity" in words:
        return None
    if "sleep" in words:
        return next((float(word) for word in words if word.isdigit()), RUN_ONCE)
    return RUN_ONCE


def _is_stuck(status: Object) -> bool:
    return bool(status["state"].get("waiting", {}).get("reason") == "ImagePullBackOff")


def _takes(node: Object) -> bool:
    tainted = any(t.get("effect") != "PreferNoSchedule" for t in spec_of(node).get("taints") or [])
    return not spec_of(node).get("unschedulable") and not tainted

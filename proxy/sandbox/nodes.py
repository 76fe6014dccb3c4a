"""The invented nodes: they take pods, start their containers after a moment, and stop them.

An image whose name holds `broken`, or whose tag is `missing`, cannot be pulled, to show what that looks like.
Containers of jobs and of pods that are not to be restarted end well after a while.
"""

import hashlib
from typing import Final

from proxy.sandbox import recording
from proxy.sandbox.guarding import attempt
from proxy.sandbox.kinds import NODE, POD
from proxy.sandbox.objects import (
    Object,
    condition,
    is_deleting,
    name_of,
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


def cannot_pull(image: str) -> bool:
    """Whether the nodes pretend that this image does not exist."""
    return "broken" in image or image.endswith(":missing")


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
            return self._start(pod)
        if phase == "Running":
            self._follow_image(pod)
            if spec_of(pod)["restartPolicy"] != "Always":
                return self._end(pod)
        return None

    def _stop(self, pod: Object) -> float | None:
        wait = self._due(
            pod, "stop", min(STOP, pod["metadata"].get("deletionGracePeriodSeconds", 0))
        )
        if wait > 0:
            return wait
        if pod["metadata"].get("finalizers"):
            return None
        for container in spec_of(pod)["containers"]:
            self._note(pod, "Killing", f"Stopping container {container['name']}", container["name"])
        self._registry.store.remove(POD, pod)
        return None

    def _start(self, pod: Object) -> float | None:
        if not spec_of(pod).get("nodeName"):
            return self._place(pod)
        if any(
            entry["state"].get("waiting", {}).get("reason") == "ImagePullBackOff"
            for entry in status_of(pod).get("containerStatuses", [])
        ):
            return None
        wait = self._due(pod, "start", START)
        if wait > 0:
            return wait
        failing = [c for c in spec_of(pod)["containers"] if cannot_pull(c["image"])]
        for container in failing:
            image = container["image"]
            self._note(
                pod,
                "Failed",
                f'Failed to pull image "{image}": not found',
                container["name"],
                "Warning",
            )
        self._set_status(pod, self._running(pod))
        if not failing:
            self._tell_started(pod)
        return 0.0

    def _place(self, pod: Object) -> float | None:
        nodes = [node for node in self._registry.store.items(NODE) if _takes(node)]
        if not nodes:
            message = "0 nodes are available: every node is cordoned"
            recording.note(
                self._registry,
                pod,
                "FailedScheduling",
                message,
                component="default-scheduler",
                kind="Warning",
            ) if not condition(pod, "PodScheduled") else None
            self._set_status(
                pod, _status("Pending", [self._said("PodScheduled", False, "Unschedulable")])
            )
            return None
        load = {name_of(node): 0 for node in nodes}
        for other in self._registry.store.items(POD):
            home = spec_of(other).get("nodeName")
            if home in load:
                load[home] += 1
        chosen = min(sorted(load), key=lambda name: load[name])
        placed = self._registry.mutate(POD, pod, lambda item: item["spec"].update(nodeName=chosen))
        where = f"{pod['metadata']['namespace']}/{name_of(pod)}"
        recording.note(
            self._registry,
            pod,
            "Scheduled",
            f"Successfully assigned {where} to {chosen}",
            component="default-scheduler",
        )
        self._set_status(placed, self._creating(placed))
        return 0.0

    def _said(self, kind: str, yes: bool, reason: str = "") -> Object:
        said: Object = {"type": kind, "status": str(yes), "lastProbeTime": None}
        return (
            said
            | {"lastTransitionTime": self._registry.now()}
            | ({"reason": reason} if reason else {})
        )

    def _creating(self, pod: Object) -> Object:
        waiting = {"waiting": {"reason": "ContainerCreating"}}
        statuses = [_container(c, waiting, ready=False) for c in spec_of(pod)["containers"]]
        conditions = [
            self._said("PodReadyToStartContainers", False),
            self._said("Initialized", True),
            self._said("Ready", False, "ContainersNotReady"),
            self._said("ContainersReady", False, "ContainersNotReady"),
            self._said("PodScheduled", True),
        ]
        return _status("Pending", conditions) | {
            "startTime": self._registry.now(),
            "containerStatuses": statuses,
            "hostIP": node_address(spec_of(pod)["nodeName"]),
        }

    def _running(self, pod: Object) -> Object:
        started = {"running": {"startedAt": self._registry.now()}}
        statuses = []
        for container in spec_of(pod)["containers"]:
            broken = cannot_pull(container["image"])
            state = _back_off(container["image"]) if broken else started
            statuses.append(_container(container, state, ready=not broken))
        ready = all(entry["ready"] for entry in statuses)
        reason = "" if ready else "ContainersNotReady"
        conditions = [
            self._said("PodReadyToStartContainers", True),
            self._said("Initialized", True),
            self._said("Ready", ready, reason),
            self._said("ContainersReady", ready, reason),
            self._said("PodScheduled", True),
        ]
        address = pod_address(pod)
        before = status_of(pod)
        return {**before, **_status("Running" if ready else "Pending", conditions)} | {
            "containerStatuses": statuses,
            "podIP": address,
            "podIPs": [{"ip": address}],
            "hostIP": node_address(spec_of(pod)["nodeName"]),
            "hostIPs": [{"ip": node_address(spec_of(pod)["nodeName"])}],
            "startTime": before.get("startTime", self._registry.now()),
        }

    def _tell_started(self, pod: Object) -> None:
        for container in spec_of(pod)["containers"]:
            name, image = container["name"], container["image"]
            present = f'Container image "{image}" already present on machine'
            self._note(pod, "Pulled", present, name)
            self._note(pod, "Created", f"Container created: {name}", name)
            self._note(pod, "Started", "Container started", name)

    def _follow_image(self, pod: Object) -> None:
        # The image of a running container may change; it restarts with the new one.
        running = {
            entry["name"]: entry["image"] for entry in status_of(pod).get("containerStatuses", [])
        }
        if all(
            running.get(c["name"], c["image"]) == c["image"] for c in spec_of(pod)["containers"]
        ):
            return
        status = self._running(pod)
        for entry in status["containerStatuses"]:
            entry["restartCount"] = 1
        self._set_status(pod, status)

    def _end(self, pod: Object) -> float | None:
        length = run_time(spec_of(pod)["containers"][0])
        if length is None:
            return None
        wait = self._due(pod, "end", length)
        if wait > 0:
            return wait
        ended = {
            "terminated": {
                "exitCode": 0,
                "reason": "Completed",
                "startedAt": status_of(pod)["startTime"],
                "finishedAt": self._registry.now(),
            }
        }
        conditions = [
            self._said("Initialized", True),
            self._said("Ready", False, "PodCompleted"),
            self._said("ContainersReady", False, "PodCompleted"),
            self._said("PodScheduled", True),
        ]
        status = {**status_of(pod), **_status("Succeeded", conditions)}
        status["containerStatuses"] = [
            _container(c, ended, ready=False) for c in spec_of(pod)["containers"]
        ]
        self._set_status(pod, status)
        return None

    def _set_status(self, pod: Object, status: Object) -> None:
        self._registry.mutate(POD, pod, lambda item: item.update(status=status), status=True)

    def _note(
        self, pod: Object, reason: str, message: str, container: str, kind: str = "Normal"
    ) -> None:
        recording.note(
            self._registry,
            pod,
            reason,
            message,
            component="kubelet",
            kind=kind,
            field_path=f"spec.containers{{{container}}}",
        )


def run_time(container: Object) -> float | None:
    """Seconds that a container runs which is not restarted; None for one that was told to stay."""
    words = " ".join([*(container.get("command") or []), *(container.get("args") or [])]).split()
    if container.get("stdin") or "infinity" in words:
        return None
    if "sleep" in words:
        return next((float(word) for word in words if word.isdigit()), RUN_ONCE)
    return RUN_ONCE


def _takes(node: Object) -> bool:
    tainted = any(t["effect"] != "PreferNoSchedule" for t in spec_of(node).get("taints") or [])
    return not spec_of(node).get("unschedulable") and not tainted


def _status(phase: str, conditions: list[Object]) -> Object:
    return {"phase": phase, "conditions": conditions, "qosClass": "BestEffort"}


def _container(container: Object, state: Object, *, ready: bool) -> Object:
    digest = hashlib.sha256(container["image"].encode()).hexdigest()
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": f"sandbox.invalid/{container['image'].partition(':')[0]}@sha256:{digest}",
        "containerID": f"sandbox://{digest}" if "waiting" not in state else "",
        "state": state,
        "lastState": {},
        "ready": ready,
        "started": ready,
        "restartCount": 0,
    }


def _back_off(image: str) -> Object:
    message = f'Back-off pulling image "{image}"'
    return {"waiting": {"reason": "ImagePullBackOff", "message": message}}


def _number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:6], 16)


def pod_address(pod: Object) -> str:
    """The pod's invented address, the same for as long as the pod lives."""
    number = _number(uid_of(pod))
    node = _number(spec_of(pod).get("nodeName", "")) % 8
    return f"10.244.{node}.{number % 250 + 2}"


def node_address(name: str) -> str:
    """The invented address of a node."""
    tail = name.rpartition("-")[2]
    return (
        f"192.168.40.{10 + int(tail)}"
        if tail.isdigit()
        else f"192.168.40.{_number(name) % 200 + 20}"
    )

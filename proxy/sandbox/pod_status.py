"""What a pod's status says at each step of its life; pure functions of the pod and the time."""

import hashlib

from proxy.sandbox.objects import Object, spec_of, status_of, uid_of


def cannot_pull(image: str) -> bool:
    """Whether the nodes pretend that this image does not exist."""
    return "broken" in image or image.endswith(":missing")


def unplaced(stamp: str) -> Object:
    """No node takes the pod."""
    return _status("Pending", [_said("PodScheduled", False, stamp, "Unschedulable")])


def creating(pod: Object, stamp: str) -> Object:
    """The pod is on its node and its containers are being made."""
    waiting = {"waiting": {"reason": "ContainerCreating"}}
    status = _status("Pending", _conditions(stamp, started=False, ready=False))
    return status | {
        "startTime": stamp,
        "containerStatuses": [_container(c, waiting, ready=False) for c in _containers(pod)],
        "hostIP": node_address(spec_of(pod)["nodeName"]),
    }


def running(pod: Object, stamp: str, *, restarts: int = 0) -> Object:
    """The containers run, but for those whose image is not there."""
    statuses = []
    for container in _containers(pod):
        broken = cannot_pull(container["image"])
        state = _back_off(container["image"]) if broken else {"running": {"startedAt": stamp}}
        statuses.append(_container(container, state, ready=not broken, restarts=restarts))
    ready = all(entry["ready"] for entry in statuses)
    address, host = pod_address(pod), node_address(spec_of(pod)["nodeName"])
    before = status_of(pod)
    phase = _status(
        "Running" if ready else "Pending", _conditions(stamp, started=True, ready=ready)
    )
    return {**before, **phase} | {
        "containerStatuses": statuses,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "startTime": before.get("startTime", stamp),
    }


def ended(pod: Object, stamp: str, code: int) -> Object:
    """The containers have ended with exit code `code` and are not started again."""
    state = {
        "terminated": {
            "exitCode": code,
            "reason": "Error" if code else "Completed",
            "startedAt": status_of(pod)["startTime"],
            "finishedAt": stamp,
        }
    }
    reason = "PodFailed" if code else "PodCompleted"
    conditions = _conditions(stamp, started=False, ready=False, reason=reason)
    phase = _status("Failed" if code else "Succeeded", conditions)
    statuses = [_container(c, state, ready=False) for c in _containers(pod)]
    return {**status_of(pod), **phase, "containerStatuses": statuses}


def _containers(pod: Object) -> list[Object]:
    found: list[Object] = spec_of(pod)["containers"]
    return found


def _status(phase: str, conditions: list[Object]) -> Object:
    return {"phase": phase, "conditions": conditions, "qosClass": "BestEffort"}


def _conditions(
    stamp: str, *, started: bool, ready: bool, reason: str = "ContainersNotReady"
) -> list[Object]:
    why = "" if ready else reason
    return [
        _said("PodReadyToStartContainers", started, stamp),
        _said("Initialized", True, stamp),
        _said("Ready", ready, stamp, why),
        _said("ContainersReady", ready, stamp, why),
        _said("PodScheduled", True, stamp),
    ]


def _said(kind: str, yes: bool, stamp: str, reason: str = "") -> Object:
    said: Object = {"type": kind, "status": str(yes), "lastProbeTime": None}
    return said | {"lastTransitionTime": stamp} | ({"reason": reason} if reason else {})


def _container(container: Object, state: Object, *, ready: bool, restarts: int = 0) -> Object:
    digest = hashlib.sha256(container["image"].encode()).hexdigest()
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": f"sandbox.invalid/{container['image'].partition(':')[0]}@sha256:{digest}",
        "containerID": "" if "waiting" in state else f"sandbox://{digest}",
        "state": state,
        "lastState": {},
        "ready": ready,
        "started": ready,
        "restartCount": restarts,
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

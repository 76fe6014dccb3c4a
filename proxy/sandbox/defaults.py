"""What a server fills in and what it refuses when an object comes in."""

import base64
import binascii
import re
from typing import Any, Final

from proxy.sandbox import selectors
from proxy.sandbox.failures import invalid
from proxy.sandbox.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    NAMESPACE,
    POD,
    REPLICA_SET,
    SECRET,
    SERVICE,
    Kind,
)
from proxy.sandbox.objects import Object, name_of, spec_of

#: DNS-1123 subdomain, the rule for most object names.
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
MAX_PORT: Final = 65535
_NAME_RULE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)


def fill_in(kind: Kind, item: Object) -> None:
    """Give `item`, in place, the defaults of its kind."""
    if kind is POD:
        _pod_spec(item.setdefault("spec", {}), in_template=False)
    elif kind in (DEPLOYMENT, REPLICA_SET):
        _workload(kind, item.setdefault("spec", {}))
    elif kind is JOB:
        _job(item)
    elif kind is SERVICE:
        _service(item.setdefault("spec", {}))
    elif kind is SECRET:
        item.setdefault("type", "Opaque")
        for key, value in (item.pop("stringData", None) or {}).items():
            item.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()
    elif kind is NAMESPACE:
        item.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        labels = item["metadata"].setdefault("labels", {})
        labels["kubernetes.io/metadata.name"] = name_of(item)


def _workload(kind: Kind, spec: Object) -> None:
    spec.setdefault("replicas", 1)
    if kind is DEPLOYMENT:
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
        strategy = spec.setdefault("strategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxSurge", "25%")
            rolling.setdefault("maxUnavailable", "25%")
        else:
            strategy.pop("rollingUpdate", None)
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    _pod_spec(template.setdefault("spec", {}), in_template=True)


def _job(item: Object) -> None:
    spec = item.setdefault("spec", {})
    spec.setdefault("parallelism", 1)
    spec.setdefault("completions", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    labels = {
        "batch.kubernetes.io/job-name": name_of(item),
        "batch.kubernetes.io/controller-uid": item["metadata"].get("uid", ""),
        "job-name": name_of(item),
    }
    template = spec.setdefault("template", {})
    mine = template.setdefault("metadata", {}).setdefault("labels", {})
    for key, value in labels.items():
        mine.setdefault(key, value)
    key = "batch.kubernetes.io/controller-uid"
    spec.setdefault("selector", {"matchLabels": {key: mine[key]}})
    _pod_spec(template.setdefault("spec", {}), in_template=True)


def _pod_spec(spec: Object, *, in_template: bool) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    if not in_template:
        spec.setdefault("serviceAccountName", "default")
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
        spec.setdefault("enableServiceLinks", True)
        spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
        spec.setdefault("priority", 0)
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        _container(container)


def _container(container: Object) -> None:
    image = str(container.get("image", ""))
    latest = image.endswith(":latest") or ":" not in image.rpartition("/")[2]
    container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")


def _service(spec: Object) -> None:
    kind = spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    if kind == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if kind in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")


def check(kind: Kind, item: Object) -> None:
    """Refuse what a server would refuse. Raises ApiError 422 that names the field."""
    name = name_of(item)
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise invalid(kind, name, "metadata.name", f'Invalid value: "{name}": {_NAME_RULE}')
    if kind is POD:
        _check_containers(kind, name, spec_of(item), "spec")
    if kind in (DEPLOYMENT, REPLICA_SET):
        _check_workload(kind, item)
    if kind is JOB:
        _check_containers(kind, name, item["spec"]["template"]["spec"], "spec.template.spec")
    if kind is SECRET:
        _check_secret(item)
    if kind is SERVICE and spec_of(item).get("type") != "ExternalName":
        _check_ports(item)


def _check_ports(service: Object) -> None:
    name, ports = name_of(service), spec_of(service).get("ports") or []
    if not ports and spec_of(service).get("clusterIP") != "None":
        raise invalid(SERVICE, name, "spec.ports", "Required value")
    for position, port in enumerate(ports):
        number = port.get("port", 0)
        if not 1 <= number <= MAX_PORT:
            why = f"Invalid value: {number}: must be between 1 and {MAX_PORT}, inclusive"
            raise invalid(SERVICE, name, f"spec.ports[{position}].port", why)


def _check_workload(kind: Kind, item: Object) -> None:
    name, spec = name_of(item), spec_of(item)
    selector = spec.get("selector")
    if not selector:
        raise invalid(kind, name, "spec.selector", "Required value")
    labels = spec["template"]["metadata"].get("labels") or {}
    if not selectors.matches(selector, labels):
        why = f"Invalid value: {labels}: `selector` does not match template `labels`"
        raise invalid(kind, name, "spec.template.metadata.labels", why)
    if not isinstance(spec["replicas"], int) or spec["replicas"] < 0:
        why = f"Invalid value: {spec['replicas']}: must be greater than or equal to 0"
        raise invalid(kind, name, "spec.replicas", why)
    _check_containers(kind, name, spec["template"]["spec"], "spec.template.spec")


def _check_containers(kind: Kind, name: str, spec: Object, path: str) -> None:
    containers: list[Any] = spec.get("containers") or []
    if not containers:
        raise invalid(kind, name, f"{path}.containers", "Required value")
    seen: set[str] = set()
    for position, container in enumerate(containers):
        where = f"{path}.containers[{position}]"
        for field in ("name", "image"):
            if not container.get(field):
                raise invalid(kind, name, f"{where}.{field}", "Required value")
        if container["name"] in seen:
            raise invalid(kind, name, f"{where}.name", f'Duplicate value: "{container["name"]}"')
        seen.add(container["name"])


def _check_secret(item: Object) -> None:
    for key, value in (item.get("data") or {}).items():
        try:
            base64.b64decode(value or "", validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            # The value itself never appears in a message.
            why = "Invalid value: it is not base64"
            raise invalid(SECRET, name_of(item), f"data[{key}]", why) from error


def check_change(kind: Kind, before: Object, after: Object) -> None:
    """Refuse changes of what cannot change. Raises ApiError 422."""
    name = name_of(after)
    if kind in (CONFIG_MAP, SECRET) and before.get("immutable"):
        same = all(before.get(key) == after.get(key) for key in ("data", "binaryData", "immutable"))
        if not same:
            why = "Forbidden: field is immutable when `immutable` is set"
            raise invalid(kind, name, "data", why)
    selectors_of = [spec_of(item).get("selector") for item in (before, after)]
    if kind in (DEPLOYMENT, REPLICA_SET, JOB) and selectors_of[0] != selectors_of[1]:
        raise invalid(kind, name, "spec.selector", "Invalid value: field is immutable")
    if kind is POD and _fixed_part(before) != _fixed_part(after):
        why = (
            "Forbidden: pod updates may not change fields other than "
            "`spec.containers[*].image`, `spec.activeDeadlineSeconds` and `spec.tolerations`"
        )
        raise invalid(kind, name, "spec", why)


def _fixed_part(pod: Object) -> Object:
    changeable = {"activeDeadlineSeconds", "tolerations", "nodeName", "ephemeralContainers"}
    spec = {key: value for key, value in spec_of(pod).items() if key not in changeable}
    for group in ("containers", "initContainers"):
        spec[group] = [
            {key: value for key, value in entry.items() if key != "image"}
            for entry in spec.get(group) or []
        ]
    return spec

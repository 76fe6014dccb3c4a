"""Pod Security Standards, profile restricted, as far as a manifest can break it.

kubernetes.io, "Pod Security Standards"; the test in a real cluster has the API server enforce it.
"""

from collections.abc import Iterator

from tests.chart.helm import Manifest, containers

_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"),
    *("projected", "secret"),
}


def violations(spec: Manifest) -> Iterator[str]:
    """What of a pod the profile forbids."""
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield field
    for volume in spec.get("volumes", []):
        if kinds := set(volume) - {"name"} - _VOLUMES:
            yield f"volume {volume['name']}: {kinds}"
    pod = spec.get("securityContext", {})
    if pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "seccompProfile of the pod"
    if pod.get("runAsNonRoot") is not True or pod.get("runAsUser", 1) == 0:
        yield "the pod may run as root"
    for container in containers(spec):
        for problem in _of_container(container):
            yield f"{container['name']}: {problem}"


def _of_container(container: Manifest) -> Iterator[str]:
    own = container.get("securityContext", {})
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
        yield "capabilities"
    if own.get("runAsUser", 1) == 0 or own.get("runAsNonRoot") is False:
        yield "may run as root"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "hostPort"

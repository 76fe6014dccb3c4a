"""The tool behind a `User-Agent`: one short word out of a fixed set, for filters and metrics.

The header is the client's own claim; nothing is decided by it.
"""

from __future__ import annotations

import functools
import re
from typing import Final

_MAX_LENGTH: Final = 256
_PRODUCT: Final = re.compile(r"[\w.+\-]+", re.ASCII)

# First product of the header, lower-cased, by its longest matching beginning.
_TOOLS: Final = {
    "ansible": "ansible",
    "apache-httpclient": "java",
    "argocd": "argocd",
    "argo": "argo",
    "axios": "node",
    "cert-manager": "cert-manager",
    "cilium": "cilium",
    "cluster-autoscaler": "cluster-autoscaler",
    "curl": "curl",
    "fabric8": "java",
    "fluxcd": "flux",
    "flux": "flux",
    "freelens": "lens",
    "go-http-client": "go",
    "headlamp": "headlamp",
    "helm-controller": "flux",
    "helm": "helm",
    "java": "java",
    "k9s": "k9s",
    "kube-apiserver": "kube-apiserver",
    "kube-controller-manager": "kube-controller-manager",
    "kube-proxy": "kube-proxy",
    "kube-scheduler": "kube-scheduler",
    "kube-state-metrics": "kube-state-metrics",
    "kubectl": "kubectl",
    "kubelet": "kubelet",
    "kubernetes-client": "client",
    "kubernetes_asyncio": "python",
    "kustomize-controller": "flux",
    "lens": "lens",
    "mozilla": "browser",
    "node": "node",
    "notification-controller": "flux",
    "oc": "oc",
    "okhttp": "java",
    "prometheus": "prometheus",
    "pulumi": "pulumi",
    "python": "python",
    "skaffold": "skaffold",
    "source-controller": "flux",
    "stern": "stern",
    "terraform": "terraform",
    "tilt": "tilt",
    "velero": "velero",
    "virtctl": "virtctl",
    "wget": "wget",
}
_LONGEST_FIRST: Final = tuple(sorted(_TOOLS, key=len, reverse=True))


@functools.lru_cache(maxsize=1024)
def _tool(user_agent: str) -> str:
    match = _PRODUCT.match(user_agent)
    if match is None:
        return "unknown"
    product = match[0].lower()
    text = user_agent.lower()
    if product == "hashicorp" or " terraform/" in text:
        return "terraform"
    if product == "openapi-generator":
        # All generated clients share the name; the language comes last.
        return "python" if "/python" in text else "client"
    if product in _TOOLS:
        return _TOOLS[product]
    for name in _LONGEST_FIRST:
        if product.startswith(name) and not product[len(name)].isalnum():
            return _TOOLS[name]
    # `NAME/VERSION (os/arch) kubernetes/COMMIT` is how client-go signs for any program.
    return "client-go" if " kubernetes/" in text else "unknown"


def tool(user_agent: str) -> str:
    """The tool that a `User-Agent` names: `kubectl`, `helm`, `client-go`, …, or `unknown`.

    Never raises, whatever the header holds; only its first 256 characters count.
    """
    return _tool(user_agent[:_MAX_LENGTH])

"""The kinds the sandbox serves: one table, from which discovery, OpenAPI and routing follow."""

from dataclasses import dataclass
from typing import Final

ALL_VERBS: Final = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object and how its URLs and listings look.

    `stored` is false for kinds that only answer (reviews, metrics) and keep nothing.
    """

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    stored: bool = True
    about: str = ""

    @property
    def api_version(self) -> str:
        """`apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`plural.group`, as messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def root(self) -> str:
        """The URL path of its group and version, without a leading slash."""
        return f"apis/{self.group}/{self.version}" if self.group else f"api/{self.version}"


_CORE = (
    Kind("", "v1", "namespaces", "Namespace", namespaced=False, short=("ns",),
         subresources=("status", "finalize"), verbs=tuple(v for v in ALL_VERBS if v != "deletecollection"),
         about="A scope for names: most objects live in exactly one namespace."),
    Kind("", "v1", "nodes", "Node", namespaced=False, short=("no",), subresources=("status",),
         about="A machine that runs pods."),
    Kind("", "v1", "pods", "Pod", short=("po",), categories=("all",),
         subresources=("status", "log", "exec", "attach", "portforward", "eviction",
                       "binding", "proxy"),
         about="One or more containers that are placed on a node together and share an address."),
    Kind("", "v1", "services", "Service", short=("svc",), categories=("all",), subresources=("status",),
         about="A stable address for the pods that its selector picks."),
    Kind("", "v1", "configmaps", "ConfigMap", short=("cm",),
         about="Settings as keys and values, for pods to read."),
    Kind("", "v1", "secrets", "Secret",
         about="Values that are not for everyone's eyes, stored as base64."),
    Kind("", "v1", "serviceaccounts", "ServiceAccount", short=("sa",), subresources=("token",),
         about="An identity for the programs that run in pods."),
    Kind("", "v1", "events", "Event", short=("ev",),
         about="A note that something happened to an object; kept for a while only."),
)  # fmt: skip

_APPS = (
    Kind("apps", "v1", "deployments", "Deployment", short=("deploy",), categories=("all",),
         subresources=("status", "scale"),
         about="Keeps a number of equal pods running and replaces them step by step on a change."),
    Kind("apps", "v1", "replicasets", "ReplicaSet", short=("rs",), categories=("all",),
         subresources=("status", "scale"),
         about="Keeps a number of pods of one template running; usually owned by a Deployment."),
    Kind("batch", "v1", "jobs", "Job", categories=("all",), subresources=("status",),
         about="Runs pods until enough of them have succeeded."),
    Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice",
         about="The addresses behind a service; kept by the cluster."),
)  # fmt: skip

_ANSWERS = (
    Kind("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False,
         verbs=("create",), stored=False, about="Asks the server: who am I?"),
    Kind("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview",
         namespaced=False, verbs=("create",), stored=False, about="Asks the server: may I do this?"),
    Kind("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview",
         namespaced=False, verbs=("create",), stored=False, about="Asks the server: what may I do?"),
    Kind("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview",
         namespaced=False, verbs=("create",), stored=False, about="Asks: may somebody do this?"),
    Kind("metrics.k8s.io", "v1beta1", "nodes", "NodeMetrics", namespaced=False,
         verbs=("get", "list"), stored=False, about="What a node uses now."),
    Kind("metrics.k8s.io", "v1beta1", "pods", "PodMetrics", verbs=("get", "list"), stored=False,
         about="What a pod uses now."),
)  # fmt: skip

KINDS: Final[tuple[Kind, ...]] = (*_CORE, *_APPS, *_ANSWERS)
STORED: Final[tuple[Kind, ...]] = tuple(kind for kind in KINDS if kind.stored)
_BY_PATH: Final = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}
_BY_NAME: Final = {(kind.api_version, kind.name): kind for kind in KINDS}

NAMESPACE, NODE, POD, SERVICE, CONFIG_MAP, SECRET, SERVICE_ACCOUNT, EVENT = _CORE
DEPLOYMENT, REPLICA_SET, JOB, ENDPOINT_SLICE = _APPS

#: The `apiVersion` of what the `scale` subresource reads and writes.
SCALE_API_VERSION: Final = "autoscaling/v1"


def by_path(group: str, version: str, plural: str) -> Kind | None:
    """The kind served at `/apis/<group>/<version>/<plural>`; group is empty for the core."""
    return _BY_PATH.get((group, version, plural))


def by_name(api_version: str, name: str) -> Kind | None:
    """The kind that an object's `apiVersion` and `kind` name."""
    return _BY_NAME.get((api_version, name))


def groups() -> dict[str, list[str]]:
    """Every API group with its versions, the core group first as the empty name."""
    found: dict[str, list[str]] = {}
    for kind in KINDS:
        versions = found.setdefault(kind.group, [])
        if kind.version not in versions:
            versions.append(kind.version)
    return found

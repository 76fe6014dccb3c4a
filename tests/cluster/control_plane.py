"""etcd, three API servers, the controller manager and the scheduler: their certificates and command lines.

The second and the third API server keep their objects under prefixes of their own in the same etcd, have authorities
of their own and no node: other clusters as far as any client can tell, for tests that need two or three.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster.certificates import Authority, Pair
from tests.cluster.components import Components
from tests.cluster.contain import NODE_ADDRESS

READY_SECONDS = 60

# Everything at Metadata, once, when it is over or (watches, tunnels) when its answer begins: the oracle that the
# proxy's own record is compared with.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True)
class ApiServer:
    """One API server: where it listens, where its objects live, and the files that belong to it."""

    name: str
    port: int
    service_network: str
    service_address: str
    authority: Authority
    audit_log: Path

    @property
    def url(self) -> str:
        """The address that clients use."""
        return f"https://{NODE_ADDRESS}:{self.port}"

    def kubeconfig(self, name: str, common_name: str, *groups: str) -> Path:
        """A kubeconfig of this server for a new client certificate."""
        pair = self.authority.issue(name, common_name, *groups)
        return self.authority.kubeconfig(name, self.url, pair)


@dataclass(frozen=True)
class ControlPlane:
    """Starts the control plane with the binaries in one directory and the state in another."""

    components: Components
    binaries: Path
    state: Path
    logs: Path

    def start_etcd(self) -> None:
        """Start etcd, without waiting for it: the API servers do."""
        peer, client = "http://127.0.0.1:2380", "http://127.0.0.1:2379"
        self.components.start(
            "etcd",
            self.binaries / "etcd",
            f"--data-dir={self.state / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            # The cluster does not survive its processes anyway.
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    def describe(self, name: str, port: int, service_network: str) -> ApiServer:
        """Make the authority and the names of an API server."""
        service_address = service_network.replace("0.0/16", "0.1")
        directory = self.state / name
        return ApiServer(
            name=name,
            port=port,
            service_network=service_network,
            service_address=service_address,
            authority=Authority(directory, f"{name} cluster CA"),
            audit_log=self.logs / f"audit-{name}.log",
        )

    def start_api_server(self, server: ApiServer, *, node: bool) -> None:
        """Start an API server; without a node there is nobody to make service accounts, so none are asked for."""
        authority = server.authority
        hosts = (
            *(NODE_ADDRESS, "127.0.0.1", "localhost", server.service_address, "kubernetes"),
            *("kubernetes.default", "kubernetes.default.svc"),
            "kubernetes.default.svc.cluster.local",
        )
        serving = authority.issue("kube-apiserver", "kube-apiserver", hosts=hosts)
        flags = [
            "--etcd-servers=http://127.0.0.1:2379",
            f"--etcd-prefix=/{server.name}",
            "--bind-address=0.0.0.0",
            f"--secure-port={server.port}",
            f"--advertise-address={NODE_ADDRESS}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={authority.pair.certificate}",
            f"--service-cluster-ip-range={server.service_network}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged",
            *self._service_account_flags(authority),
            *self._audit_flags(server),
        ]
        if node:
            flags += [*self._node_flags(authority), *self._aggregation_flags()]
        else:
            flags += ["--disable-admission-plugins=ServiceAccount"]
            flags += ["--endpoint-reconciler-type=none"]
        self.components.start(f"kube-apiserver-{server.name}", self._program("apiserver"), *flags)

    def wait_api_server(self, server: ApiServer, admin: Path) -> None:
        """Wait until the API server says that it is ready, the bootstrap of its roles included."""
        probe = [str(self.binaries / "kubectl"), f"--kubeconfig={admin}", "get", "--raw=/readyz"]
        self.components.wait_command(
            f"the API server {server.name} is ready",
            probe,
            suspect=f"kube-apiserver-{server.name}",
            timeout=READY_SECONDS,
        )

    def start_controllers(self, server: ApiServer) -> None:
        """Start the controller manager and the scheduler."""
        authority = server.authority
        name = "kube-controller-manager"
        kubeconfig = server.kubeconfig(name, f"system:{name}")
        self.components.start(
            name,
            self._program("controller-manager"),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--leader-elect=false",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={authority.directory / 'service-account.key'}",
            f"--root-ca-file={authority.pair.certificate}",
            f"--cluster-signing-cert-file={authority.pair.certificate}",
            f"--cluster-signing-key-file={authority.pair.key}",
        )
        name = "kube-scheduler"
        kubeconfig = server.kubeconfig(name, f"system:{name}")
        self.components.start(
            name,
            self._program("scheduler"),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--leader-elect=false",
        )

    def start_aggregation(self, server: ApiServer) -> None:
        """Start the one controller without which `view` and `edit` of a cluster without a node say nothing."""
        name = f"kube-controller-manager-{server.name}"
        self.components.start(
            name,
            self._program("controller-manager"),
            f"--kubeconfig={server.kubeconfig(name, name, 'system:masters')}",
            "--controllers=clusterrole-aggregation-controller",
            "--leader-elect=false",
            "--secure-port=0",
        )

    def _program(self, name: str) -> Path:
        return self.binaries / f"kube-{name}"

    def _service_account_flags(self, authority: Authority) -> list[str]:
        pair = authority.issue("service-account", "service-accounts")
        return [
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-signing-key-file={pair.key}",
            f"--service-account-key-file={pair.key}",
        ]

    def _audit_flags(self, server: ApiServer) -> list[str]:
        policy = server.authority.directory / "audit-policy.yaml"
        policy.write_text(yaml.safe_dump(AUDIT_POLICY))
        return [
            f"--audit-policy-file={policy}",
            f"--audit-log-path={server.audit_log}",
            "--audit-log-mode=blocking-strict",
        ]

    def _node_flags(self, authority: Authority) -> list[str]:
        client = authority.issue("kubelet-client", "kube-apiserver", "system:masters")
        return [
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={authority.pair.certificate}",
            f"--kubelet-client-certificate={client.certificate}",
            f"--kubelet-client-key={client.key}",
        ]

    def _aggregation_flags(self) -> list[str]:
        # An authority apart: whoever holds one of its certificates may speak for any user.
        authority = Authority(self.state / "front-proxy", "front proxy CA")
        client: Pair = authority.issue("client", "front-proxy-client")
        return [
            f"--requestheader-client-ca-file={authority.pair.certificate}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={client.certificate}",
            f"--proxy-client-key-file={client.key}",
            # kube-proxy of the one node runs beside the API server, so service addresses work from here.
        ]


def create(kubectl: Path, admin: Path, objects: list[dict[str, object]]) -> None:
    """Create objects with kubectl.

    Raises:
        subprocess.CalledProcessError: the API server refused one.
    """
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    command = [str(kubectl), f"--kubeconfig={admin}", "create", "--validate=false", "-f", "-"]
    subprocess.run(command, input=json.dumps(listed).encode(), check=True, capture_output=True)

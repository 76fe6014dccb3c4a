"""The one node: containerd with its images, kubelet, pod network and kube-proxy."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster import images
from tests.cluster.build import find_tool
from tests.cluster.components import Components
from tests.cluster.contain import NODE_ADDRESS
from tests.cluster.control_plane import ApiServer

NODE_NAME = "node"
POD_NETWORK = "10.244.0.0/24"
DNS_ADDRESS = "10.96.0.10"
DOMAIN = "cluster.local"

CONTAINERD_SOCKET = Path("/run/containerd/containerd.sock")
CNI_PLUGINS = "/usr/lib/cni"
CONTAINERD_SECONDS = 20

# restrict_oom_score_adj: the room's processes may not lower their score, and the runtime would insist.
CONTAINERD_CONFIG = """\
version = 3
root = "{state}/containerd"
state = "/run/containerd"

[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{pause}"

[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{cni}"]
conf_dir = "{state}/cni"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
"""


@dataclass(frozen=True)
class Node:
    """Starts the node's programs."""

    components: Components
    binaries: Path
    state: Path
    logs: Path

    def start_containerd(self) -> None:
        """Start the container runtime with the pod network's configuration."""
        self._write_network()
        config = self.state / "containerd.toml"
        runc = find_tool("runc")
        config.write_text(
            CONTAINERD_CONFIG.format(
                state=self.state, pause=images.PAUSE, cni=CNI_PLUGINS, runc=runc
            )
        )
        program = self.binaries / "containerd"
        self.components.start("containerd", program, f"--config={config}", "--log-level=info")

    def import_images(self) -> None:
        """Make the images and give them to the container runtime, as soon as it listens."""
        made = [
            images.binary_image(images.PAUSE, self.binaries / "pause"),
            images.busybox_image(Path(find_tool("busybox") or "busybox")),
            images.binary_image(images.COREDNS, self.binaries / "coredns"),
            images.binary_image(images.METRICS_SERVER, self.binaries / "metrics-server"),
        ]
        self.components.wait_command(
            "containerd listens",
            [*_ctr(self.binaries / "ctr"), "version"],
            suspect="containerd",
            timeout=CONTAINERD_SECONDS,
        )
        for number, image in enumerate(made):
            archive = self.state / f"image-{number}.tar"
            images.write_image(image, archive)
            import_archive(self.binaries / "ctr", archive)
            archive.unlink()

    def start_kubelet(self, server: ApiServer) -> None:
        """Start the kubelet, which registers the node."""
        authority = server.authority
        user = f"system:node:{NODE_NAME}"
        kubeconfig = server.kubeconfig("kubelet", user, "system:nodes")
        serving = authority.issue("kubelet-serving", user, hosts=(NODE_NAME, NODE_ADDRESS))
        resolv_conf = self.state / "resolv.conf"
        resolv_conf.write_text("")
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": NODE_ADDRESS,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(authority.pair.certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(serving.certificate),
            "tlsPrivateKeyFile": str(serving.key),
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "clusterDNS": [DNS_ADDRESS],
            "clusterDomain": DOMAIN,
            "resolvConf": str(resolv_conf),
            "podLogsDir": str(self.logs / "pods"),
            "volumePluginDir": str(self.state / "volume-plugins"),
            # Control groups of version 1 are fine, and none but the pods' own are managed.
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            # The machine's disk is not ours to judge.
            "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "localStorageCapacityIsolation": False,
        }
        file = self.state / "kubelet.yaml"
        file.write_text(yaml.safe_dump(config))
        self.components.start(
            "kubelet",
            self.binaries / "kubelet",
            f"--config={file}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={NODE_ADDRESS}",
            f"--root-dir={self.state / 'kubelet'}",
        )

    def start_kube_proxy(self, server: ApiServer) -> None:
        """Start kube-proxy, which makes service addresses work on the node and in pods."""
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "hostnameOverride": NODE_NAME,
            "clusterCIDR": POD_NETWORK,
            "clientConnection": {
                "kubeconfig": str(server.kubeconfig("kube-proxy", "system:kube-proxy"))
            },
            # The table's size belongs to the machine and cannot be set from a network of one's own.
            "conntrack": {"maxPerCore": 0},
        }
        file = self.state / "kube-proxy.yaml"
        file.write_text(yaml.safe_dump(config))
        self.components.start("kube-proxy", self.binaries / "kube-proxy", f"--config={file}")

    def _write_network(self) -> None:
        """Each pod gets a link of its own to the node, so every packet is routed.

        On a bridge, answers of pods on one node pass the node's address translation by unless the kernel's
        br_netfilter is loaded, which a test rig cannot rely on.
        """
        directory = self.state / "cni"
        directory.mkdir(exist_ok=True)
        ipam = {
            "type": "host-local",
            "dataDir": str(self.state / "addresses"),
            "ranges": [[{"subnet": POD_NETWORK}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        plugins = [{"type": "ptp", "ipam": ipam}, {"type": "loopback"}]
        network = {"cniVersion": "0.4.0", "name": "pods", "plugins": plugins[:1]}
        (directory / "10-pods.conflist").write_text(json.dumps(network))


def import_archive(ctr: Path, archive: Path) -> None:
    """Give the container runtime the images of an archive in the form of `docker save`.

    Raises:
        subprocess.CalledProcessError: it does not take them; `stderr` says why.
    """
    command = [*_ctr(ctr), "images", "import", str(archive)]
    subprocess.run(command, check=True, capture_output=True)


def _ctr(program: Path) -> list[str]:
    return [str(program), f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io"]

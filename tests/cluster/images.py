"""Container images without a registry, as the tar that `docker save` writes.

Each image is one layer put together from files of this machine: busybox-static with a link for every applet,
or one static binary. The tars are the same bytes each time, so that the runtime sees the same image.
"""

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

# Names of a host that does not exist: nothing can be pulled, `imagePullPolicy: Never` or not.
BUSYBOX = "cluster.test/busybox:1"
PAUSE = "cluster.test/pause:1"
COREDNS = "cluster.test/coredns:1"
METRICS_SERVER = "cluster.test/metrics-server:1"

_DIRECTORIES = ("bin", "etc", "root", "tmp", "usr", "usr/bin", "var", "var/tmp", "home", "www")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
    "www/index.html": "hello from a pod\n",
}


@dataclass(frozen=True)
class Image:
    """What an image holds and starts: the machine's files by their place inside, and its links."""

    name: str
    entrypoint: list[str]
    files: dict[str, Path]
    links: dict[str, str] = field(default_factory=dict)


def busybox_image(busybox: Path) -> Image:
    """The image of most pods: every busybox applet, a shell among them."""
    listed = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True)
    links = {f"bin/{applet}": "busybox" for applet in listed.stdout.split() if applet != "busybox"}
    return Image(BUSYBOX, [], {"bin/busybox": busybox}, links)


def binary_image(name: str, binary: Path) -> Image:
    """An image of one static binary that is its entry point."""
    return Image(name, [f"/bin/{binary.name}"], {f"bin/{binary.name}": binary})


def write_image(image: Image, target: Path) -> None:
    """Write `image` to `target` in the layout of `docker save`."""
    layer = _layer(image)
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Entrypoint": image.entrypoint or None, "Env": ["PATH=/bin:/usr/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    encoded = json.dumps(config, sort_keys=True).encode()
    config_name = f"{hashlib.sha256(encoded).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [image.name], "Layers": ["layer.tar"]}]
    with tarfile.open(target, "w") as archive:
        _add(archive, config_name, encoded)
        _add(archive, "layer.tar", layer)
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def _layer(image: Image) -> bytes:
    """The file system of an image as a tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for directory in _DIRECTORIES:
            entry = tarfile.TarInfo(directory)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o1777 if directory in ("tmp", "var/tmp") else 0o755
            archive.addfile(entry)
        for name, text in _FILES.items():
            _add(archive, name, text.encode())
        for name, source in image.files.items():
            _add(archive, name, source.read_bytes(), mode=0o755)
        for name, destination in image.links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, destination
            archive.addfile(entry)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _architecture() -> str:
    """The architecture of the machine by the name that images use."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)

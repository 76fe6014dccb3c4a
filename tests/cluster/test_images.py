"""The image archives: what the runtime reads from them, and that they do not change by themselves."""

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.cluster.images import Image, binary_image, busybox_image, write_image


@pytest.fixture
def image(tmp_path: Path) -> Image:
    program = tmp_path / "serve"
    program.write_bytes(b"\x7fELF and so on")
    return binary_image("cluster.test/serve:1", program)


def read(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as opened:
        member = opened.extractfile(name)
        assert member is not None
        return member.read()


def test_the_layout_is_that_of_docker_save(image: Image, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    write_image(image, archive)
    (manifest,) = json.loads(read(archive, "manifest.json"))
    assert manifest["RepoTags"] == ["cluster.test/serve:1"]
    raw = read(archive, manifest["Config"])
    assert manifest["Config"] == f"{hashlib.sha256(raw).hexdigest()}.json"
    config = json.loads(raw)
    assert config["config"]["Entrypoint"] == ["/bin/serve"]
    (layer,) = (read(archive, name) for name in manifest["Layers"])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        program = files.getmember("bin/serve")
        assert program.mode == 0o755
        assert files.getmember("tmp").mode == 0o1777


def test_the_same_files_give_the_same_bytes(image: Image, tmp_path: Path) -> None:
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    write_image(image, first)
    write_image(image, second)
    assert first.read_bytes() == second.read_bytes()


def test_busybox_has_a_link_for_each_applet_but_itself(tmp_path: Path) -> None:
    pretending = tmp_path / "busybox"
    shell = shutil.which("sh")
    pretending.write_text(f"#!{shell}\nprintf 'busybox\\ncat\\nsh\\n'\n")
    pretending.chmod(0o755)
    assert busybox_image(pretending).links == {"bin/cat": "busybox", "bin/sh": "busybox"}

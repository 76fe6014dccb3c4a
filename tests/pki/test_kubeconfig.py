import base64
import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.errors import InvalidInputError
from proxy.pki.authority import new_authority
from proxy.pki.keys import csr, key_pem, new_key
from proxy.pki.kubeconfig import (
    Document,
    EmbeddedLogin,
    ExecLogin,
    client_kubeconfig,
    dump,
    merge,
    write_kubeconfig,
)

SERVER = "proxy.example.com:8443"
LOGIN = EmbeddedLogin(b"CERT", b"KEY")
KUBECTL = Path(sys.executable).with_name("kubectl")


def made(
    *clusters: str, server: str = SERVER, login: EmbeddedLogin | ExecLogin = LOGIN
) -> Document:
    return client_kubeconfig(
        server=server, clusters=clusters or ("prod",), user="alice", ca_pem=b"CA", login=login
    )


def entry(document: Document, kind: str, name: str) -> dict[str, Any]:
    (found,) = (item for item in document[f"{kind}s"] if item["name"] == name)
    return dict(found[kind])


def theirs() -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {"colors": True},
        "clusters": [{"name": "c", "cluster": {"server": "https://other"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        "current-context": "prod",
    }


def test_one_context_for_each_cluster_the_first_current() -> None:
    document = made("prod", "dev", "prod")
    assert [item["name"] for item in document["contexts"]] == ["prod", "dev"]
    assert document["current-context"] == "prod"
    assert entry(document, "context", "dev") == {
        "cluster": f"dev@{SERVER}",
        "user": f"alice@{SERVER}",
    }
    assert entry(document, "cluster", f"dev@{SERVER}") == {
        "server": f"https://{SERVER}/clusters/dev",
        "certificate-authority-data": base64.b64encode(b"CA").decode(),
    }
    assert entry(document, "user", f"alice@{SERVER}") == {
        "client-certificate-data": base64.b64encode(b"CERT").decode(),
        "client-key-data": base64.b64encode(b"KEY").decode(),
    }


def test_the_exec_form_holds_no_secret() -> None:
    document = made(login=ExecLogin(Path("/home/a/.config/kubewitness/alice.yaml")))
    plugin = entry(document, "user", f"alice@{SERVER}")["exec"]
    assert plugin["apiVersion"] == "client.authentication.k8s.io/v1"
    assert [plugin["command"], *plugin["args"]] == [
        "kubewitness", "credential", "exec", "--config", "/home/a/.config/kubewitness/alice.yaml",
    ]  # fmt: skip
    assert plugin["interactiveMode"] == "Never"
    assert plugin["installHint"]


def test_no_cluster_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="--cluster"):
        client_kubeconfig(server=SERVER, clusters=(), user="a", ca_pem=b"", login=LOGIN)


def test_a_new_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "alice.kubeconfig"
    assert write_kubeconfig(path, made("prod", "dev")) == ["prod", "dev"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert yaml.safe_load(path.read_text()) == made("prod", "dev")


class TestMerging:
    def test_keeps_everything_of_theirs(self, tmp_path: Path) -> None:
        path = tmp_path / "config"
        path.write_bytes(dump(theirs()))
        assert write_kubeconfig(path, made("prod", "dev")) == [f"prod@{SERVER}", "dev"]
        document = yaml.safe_load(path.read_text())
        for key in ("clusters", "users", "contexts"):
            assert document[key][0] == theirs()[key][0]
        assert document["current-context"] == "prod"
        assert document["preferences"] == {"colors": True}
        assert entry(document, "context", f"prod@{SERVER}")["user"] == f"alice@{SERVER}"

    def test_again_replaces_ours_in_place(self) -> None:
        first, _ = merge(theirs(), made("dev"))
        again, names = merge(first, made("dev", login=EmbeddedLogin(b"NEW", b"KEY2")))
        assert names == ["dev"]
        assert [len(again[key]) for key in ("clusters", "users", "contexts")] == [2, 2, 2]
        data = entry(again, "user", f"alice@{SERVER}")["client-certificate-data"]
        assert base64.b64decode(data) == b"NEW"

    def test_two_proxies_side_by_side(self) -> None:
        first, _ = merge(theirs(), made("dev"))
        both, names = merge(first, made("dev", server="other:8443"))
        assert names == ["dev@other:8443"]
        assert entry(both, "context", "dev")["cluster"] == f"dev@{SERVER}"

    @pytest.mark.parametrize("current", [None, "", "gone"])
    def test_takes_over_only_when_no_context_is_current(self, current: str | None) -> None:
        merged, _ = merge(theirs() | {"current-context": current}, made("dev"))
        assert merged["current-context"] == "dev"

    def test_into_an_empty_kubeconfig(self) -> None:
        empty = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": None,
            "users": None,
            "contexts": None,
        }
        merged, names = merge(empty, made("dev"))
        assert names == ["dev"]
        assert merged["contexts"] == made("dev")["contexts"]

    def test_an_empty_file_is_a_new_one(self, tmp_path: Path) -> None:
        (tmp_path / "config").touch(0o644)
        assert write_kubeconfig(tmp_path / "config", made()) == ["prod"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"precious notes", "top level is not a mapping"),
        (b"a: b\n{c: d", ": line 2 is not YAML"),
        (b"\xff\xfe", "is not YAML"),
        (b"kind: Pod\napiVersion: v1", "kind and apiVersion"),
        (b"name: my settings", "neither clusters"),
        (b"kind: Config\nclusters: {}", "clusters is not a list"),
        (b"kind: Config\nusers: [{user: {token: hunter2}}]", "users has an entry without a name"),
        (b"kind: Config\ncontexts: [{name: a}, {name: a}]", "contexts has a name twice"),
    ],
)
def test_what_is_no_kubeconfig_is_left_alone(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=message) as caught:
        write_kubeconfig(path, made())
    assert path.read_bytes() == content
    assert "hunter2" not in str(caught.value)


def test_kubectl_reads_it(tmp_path: Path) -> None:
    authority, key = new_authority(new_key(), 1_800_000_000), new_key()
    issued = authority.issue(csr(key, "alice"), user="alice", ttl=60, max_ttl=60, now=1_800_000_000)
    path = tmp_path / "config"
    write_kubeconfig(path, made("prod", "dev", login=EmbeddedLogin(issued.pem, key_pem(key))))
    seen = subprocess.run(
        [KUBECTL, "--kubeconfig", path, "config", "view", "--raw", "-o", "json"],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    document = json.loads(seen.stdout)
    assert document["current-context"] == "prod"
    assert [item["name"] for item in document["contexts"]] == ["dev", "prod"]

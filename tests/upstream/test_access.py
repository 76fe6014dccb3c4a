import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.upstream.access import Access, AccessError, load_document, read_access


def kubeconfig(
    cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://k:6443"} | (cluster or {})}],
        "users": [{"name": "u", "user": {"token": "t"} if user is None else user}],
    }


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


PLUGIN = {"apiVersion": "client.authentication.k8s.io/v1", "command": "get-token"}
PAIR = {"client-certificate-data": b64("CERT"), "client-key-data": b64("KEY")}


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"token": "t\n"}, {"token": "t"}),
        ({"tokenFile": "/run/token", "token": "t"}, {"token_file": Path("/run/token")}),
        ({"username": "u", "password": "p"}, {"basic": ("u", "p")}),
        (PAIR, {"certificate_pem": b"CERT", "key_pem": b"KEY"}),
        (PAIR | {"token": "t"}, {"certificate_pem": b"CERT", "key_pem": b"KEY", "token": "t"}),
        ({"exec": PLUGIN}, {"plugin": PLUGIN}),
        ({"exec": PLUGIN, "token": "t"}, {"token": "t"}),
        ({"exec": PLUGIN | {"command": "/bin/x"}}, {"plugin": PLUGIN | {"command": "/bin/x"}}),
    ],
)
def test_logins(user: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read_access(kubeconfig(user=user)) == Access("https://k:6443", **expected)


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ({"server": "https://k"}, {"server": "https://k"}),
        ({"server": "https://k:1/a/b/"}, {"server": "https://k:1/a/b"}),
        ({"server": "https://k:1/a?q#f"}, {"server": "https://k:1/a"}),
        ({"server": "https://[::1]:6443"}, {"server": "https://[::1]:6443"}),
        ({"server": "http://127.0.0.1:8001"}, {"server": "http://127.0.0.1:8001"}),
        ({"server": "http://localhost:8001"}, {"server": "http://localhost:8001"}),
        ({"certificate-authority-data": b64("CA")}, {"ca_pem": b"CA"}),
        ({"insecure-skip-tls-verify": True}, {"insecure": True}),
        ({"tls-server-name": "k.example.com"}, {"server_name": "k.example.com"}),
    ],
)
def test_clusters(cluster: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read_access(kubeconfig(cluster)) == Access(
        **({"server": "https://k:6443", "token": "t"} | expected)
    )


def test_files_are_read_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("CA")
    (tmp_path / "me.crt").write_text("CERT")
    (tmp_path / "me.key").write_text("KEY")
    access = read_access(
        kubeconfig(
            {"certificate-authority": "ca.crt"},
            {
                "client-certificate": "me.crt",
                "client-key": str(tmp_path / "me.key"),
                "tokenFile": "tok",
            },
        ),
        base=tmp_path,
    )
    assert (access.ca_pem, access.certificate_pem, access.key_pem) == (b"CA", b"CERT", b"KEY")
    assert access.token_file == tmp_path / "tok"


def test_data_wins_over_files() -> None:
    access = read_access(
        kubeconfig({"certificate-authority-data": b64("CA"), "certificate-authority": "/none"})
    )
    assert access.ca_pem == b"CA"


def test_a_relative_plugin_is_beside_the_kubeconfig(tmp_path: Path) -> None:
    user = {"exec": PLUGIN | {"command": "./get-token"}}
    plugin = read_access(kubeconfig(user=user), base=tmp_path).plugin
    assert plugin is not None
    assert plugin["command"] == str(tmp_path / "get-token")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "no current context"),
        (kubeconfig() | {"current-context": "y"}, "no context 'y'. It has: x"),
        (kubeconfig() | {"contexts": {}}, "no context 'x'"),
        (kubeconfig() | {"contexts": {"a": 1}}, "contexts are not a list"),
        (kubeconfig() | {"clusters": None}, "no cluster 'c'"),
        (kubeconfig() | {"users": [{"name": "u"}]}, "no user 'u'"),
        (kubeconfig({"server": ""}), "not a URL"),
        (kubeconfig({"server": "k:6443"}), "not a URL"),
        (kubeconfig({"server": "https://k:99999"}), "not a URL"),
        (kubeconfig({"server": "https://user:hunter2@k"}), "not a URL"),
        (kubeconfig({"server": "ftp://k"}), "not a URL"),
        (kubeconfig({"server": "http://k:8080"}), "not encrypted"),
        (kubeconfig({"proxy-url": "http://p:3128"}), "proxy-url"),
        (kubeconfig({"certificate-authority-data": "%%"}), "not base64"),
        (kubeconfig({"certificate-authority": "/etc/hostname"}), "Embed it"),
        (
            kubeconfig({"insecure-skip-tls-verify": True, "certificate-authority-data": b64("CA")}),
            "exclude each other",
        ),
        (kubeconfig(user={}), "no credential"),
        (kubeconfig(user={"client-certificate-data": b64("C")}), "together"),
        (kubeconfig(user={"token": "hunter2", "username": "u"}), "keep one"),
        (kubeconfig(user={"token": "hunter2", "as": "admin"}), "'as'"),
        (kubeconfig(user={"auth-provider": {"name": "gcp"}}), "auth-provider"),
        (kubeconfig(user={"tokenFile": "token"}), "relative path"),
        (
            kubeconfig(user={"exec": {"apiVersion": "client.authentication.k8s.io/v1"}}),
            "no command",
        ),
        (kubeconfig(user={"exec": {"command": "x", "apiVersion": "v1alpha1"}}), "'v1alpha1'"),
        (kubeconfig(user={"exec": PLUGIN | {"interactiveMode": "Always"}}), "terminal"),
        (kubeconfig(user={"exec": PLUGIN | {"command": "./x"}}), "relative path"),
    ],
)
def test_refuses(document: dict[str, Any], message: str) -> None:
    with pytest.raises(AccessError, match=message) as caught:
        read_access(document)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"{", b"\xff", b"just text", b"- a", b"", b"!!python/object:os.system {}"]
)
def test_refuses_what_is_no_document(content: bytes) -> None:
    with pytest.raises(AccessError):
        load_document(content)


@pytest.mark.parametrize(
    "access",
    [
        Access("https://k", ca_pem=b"CA", certificate_pem=b"C", key_pem=b"K", server_name="n"),
        Access("https://k/p", insecure=True, token="t"),
        Access("https://k", token_file=Path("/run/t")),
        Access("https://k", basic=("u", "p")),
        Access("https://k", plugin=PLUGIN),
    ],
)
def test_what_is_stored_reads_the_same(access: Access) -> None:
    stored = load_document(access.document("prod"))
    assert read_access(stored) == access
    assert stored["current-context"] == "prod"


def test_the_stored_form_holds_only_the_chosen_context() -> None:
    document = kubeconfig() | {"preferences": {}}
    document["users"].append({"name": "other", "user": {"token": "hunter2"}})
    assert b"hunter2" not in read_access(document).document("prod")
    assert yaml.safe_load(read_access(document).document("prod"))["users"] == [
        {"name": "prod", "user": {"token": "t"}}
    ]


def test_secrets_are_not_in_its_representation() -> None:
    access = Access("https://k", key_pem=b"hunter2", token="hunter2", basic=("u", "hunter2"), plugin={"env": "hunter2"})  # fmt: skip
    assert "hunter2" not in repr(access)


@pytest.mark.parametrize(
    ("access", "word"),
    [
        (Access("https://k", insecure=True), "insecure-skip-tls-verify"),
        (Access("http://localhost:1"), "not encrypted"),
        (Access("https://k", token_file=Path("/run/t")), "/run/t"),
        (Access("https://k", plugin=PLUGIN), "get-token"),
    ],
)
def test_warnings(access: Access, word: str) -> None:
    (warning,) = access.warnings
    assert word in warning

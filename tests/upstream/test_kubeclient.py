import asyncio
import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from proxy.upstream.access import Access, AccessError
from proxy.upstream.kubeclient import ExecLogin, in_cluster_access, source_of
from proxy.upstream.login import LoginError, StaticLogin, TokenFileLogin

V1 = "client.authentication.k8s.io/v1"
SERVER = "https://k:6443"
ENVIRONMENT = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def script(directory: Path, text: str) -> str:
    path = directory / "plugin"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o700)
    return str(path)


def plugin(command: str, *, timeout: float = 10, **more: Any) -> ExecLogin:
    section = {"apiVersion": V1, "command": command, **more}
    return ExecLogin(Access(SERVER, ca_pem=b"CA", plugin=section), timeout=timeout)


def answering(directory: Path, status: dict[str, Any], version: str = V1) -> str:
    answer = {"apiVersion": version, "kind": "ExecCredential", "status": status}
    return script(directory, f"cat <<'EOF'\n{json.dumps(answer)}\nEOF\n")


async def test_a_token_with_its_end(tmp_path: Path) -> None:
    status = {"token": "abc", "expirationTimestamp": "2027-01-15T08:00:00Z"}
    login = await plugin(answering(tmp_path, status)).obtain()
    assert (login.authorization, login.certificate) == (b"Bearer abc", None)
    assert login.expires == 1_800_000_000


async def test_a_certificate_as_pem_text(tmp_path: Path) -> None:
    status = {"clientCertificateData": "CERT", "clientKeyData": "KEY", "token": None}
    status = {key: value for key, value in status.items() if value}
    login = await plugin(answering(tmp_path, status)).obtain()
    assert (login.authorization, login.certificate) == (None, (b"CERT", b"KEY"))
    assert login.expires is None


async def test_the_plugin_is_told_what_client_go_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEWITNESS_DATABASE", "postgresql://hunter2")
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/x")
    command = script(
        tmp_path,
        f'env > {tmp_path}/env; echo "$@" > {tmp_path}/args\n'
        f'echo \'{{"apiVersion":"{V1}","kind":"ExecCredential","status":{{"token":"t"}}}}\'',
    )
    env = [{"name": "PROFILE", "value": "prod"}]
    await plugin(command, args=["get", "x y"], env=env, provideClusterInfo=True).obtain()
    seen = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert (tmp_path / "args").read_text() == "get x y\n"
    assert (seen["PROFILE"], seen["AWS_ROLE_ARN"]) == ("prod", "arn:aws:iam::1:role/x")
    assert not {"KUBEWITNESS_DATABASE", "PGPASSWORD", "CREDENTIALS_DIRECTORY"} & set(seen)
    assert json.loads(seen["KUBERNETES_EXEC_INFO"]) == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "spec": {
            "interactive": False,
            "cluster": {
                "server": SERVER,
                "certificate-authority-data": base64.b64encode(b"CA").decode(),
            },
        },
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo hunter2 >&2; echo hunter2; exit 3", "status 3"),
        ("echo hunter2", "did not print an ExecCredential"),
        ("true", "did not print an ExecCredential"),
        ("cat /dev/zero", "too much"),
        ("kill -9 $$", "status -9"),
    ],
    ids=["status", "text", "nothing", "endless", "killed"],
)
async def test_failures(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LoginError, match=message) as caught:
        await plugin(script(tmp_path, text)).obtain()
    assert "hunter2" not in str(caught.value)
    assert str(tmp_path / "plugin") in str(caught.value)


@pytest.mark.parametrize(
    ("status", "version", "message"),
    [
        ({}, V1, "neither"),
        ({"clientCertificateData": "C"}, V1, "without its key"),
        ({"clientKeyData": "K", "token": "t"}, V1, "without its key"),
        ({"token": "t"}, "client.authentication.k8s.io/v1beta1", "v1beta1"),
        ({"token": "a b"}, V1, "no token"),
    ],
)
async def test_odd_answers(
    tmp_path: Path, status: dict[str, Any], version: str, message: str
) -> None:
    with pytest.raises(LoginError, match=message):
        await plugin(answering(tmp_path, status, version)).obtain()


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_hanging_plugin_ends_with_all_it_started(tmp_path: Path) -> None:
    command = script(tmp_path, f"sleep 60 &\necho $! > {tmp_path}/pid\nwait\n")
    with pytest.raises(LoginError, match="longer than"):
        await plugin(command, timeout=0.3).obtain()
    child = int((tmp_path / "pid").read_text())
    async with asyncio.timeout(5):
        while running(child):
            await asyncio.sleep(0.01)


async def test_a_missing_command_is_named() -> None:
    with pytest.raises(LoginError, match=r"'/no/such' cannot be started: No such file"):
        await plugin("/no/such").obtain()


@pytest.mark.parametrize(
    "section",
    [
        {"apiVersion": V1},
        {"command": "x"},
        {"apiVersion": V1, "command": "x", "args": "get"},
        {"apiVersion": V1, "command": "x", "env": [{"value": "nameless"}]},
    ],
    ids=["no command", "no version", "args no list", "env without a name"],
)
def test_a_malformed_section_is_refused(section: dict[str, Any]) -> None:
    with pytest.raises(AccessError, match="malformed"):
        ExecLogin(Access(SERVER, plugin=section))


async def test_empty_members_are_as_good_as_none(tmp_path: Path) -> None:
    command = answering(tmp_path, {"token": "t"})
    login = await plugin(command, args=None, env=None, installHint="buy it").obtain()
    assert login.authorization == b"Bearer t"


@pytest.mark.parametrize(
    ("access", "kind"),
    [
        (Access(SERVER, token="t"), StaticLogin),
        (Access(SERVER, token_file=Path("/t")), TokenFileLogin),
        (Access(SERVER, plugin={"apiVersion": V1, "command": "x"}), ExecLogin),
    ],
)
def test_each_form_has_its_source(access: Access, kind: type) -> None:
    assert type(source_of(access)) is kind


class TestInCluster:
    @pytest.fixture
    def account(self, tmp_path: Path) -> Path:
        (tmp_path / "token").write_text("t")
        (tmp_path / "ca.crt").write_text("CA")
        return tmp_path

    def test_the_pods_own_account(self, account: Path) -> None:
        assert in_cluster_access(account, ENVIRONMENT) == Access(
            "https://10.0.0.1:443", ca_pem=b"CA", token_file=account / "token"
        )

    def test_an_ipv6_service(self, account: Path) -> None:
        access = in_cluster_access(account, ENVIRONMENT | {"KUBERNETES_SERVICE_HOST": "fd00::1"})
        assert access.server == "https://[fd00::1]:443"

    @pytest.mark.parametrize("missing", ["token", "ca.crt"])
    def test_half_an_account_is_refused(self, account: Path, missing: str) -> None:
        os.unlink(account / missing)  # noqa: PTH108
        with pytest.raises(AccessError, match="no service account"):
            in_cluster_access(account, ENVIRONMENT)

    @pytest.mark.parametrize("empty", ["token", "ca.crt"])
    def test_an_empty_file_is_refused(self, account: Path, empty: str) -> None:
        (account / empty).write_text("")
        with pytest.raises(AccessError, match=f"{empty} is empty"):
            in_cluster_access(account, ENVIRONMENT)

    def test_outside_a_pod_it_is_refused(self, account: Path) -> None:
        with pytest.raises(AccessError, match="inside a pod only"):
            in_cluster_access(account, {})

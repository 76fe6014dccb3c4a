"""What kubeconfigs may use of the proxy's machine: what its operator listed, for that server."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from proxy.clock import SystemClock
from proxy.reaching import Upstream
from proxy.upstream.access import Access, AccessError
from proxy.upstream.handle import load_target
from proxy.upstream.permissions import answers
from proxy.upstream.permitted import described, permitted, permitting
from tests.upstream.fake_api import FakeApi, serving

SERVER = "https://k.example:6443"
V1 = "client.authentication.k8s.io/v1"
SECTION: dict[str, Any] = {
    "apiVersion": V1,
    "command": "/opt/get-token",
    "args": ["--for", "my cluster"],
    "env": [{"name": "PROFILE", "value": "prod"}],
    "provideClusterInfo": True,
}
LINE = f"{SERVER} PROFILE=prod /opt/get-token --for 'my cluster'"


def plugin(**changed: Any) -> Access:
    return Access(SERVER, plugin=SECTION | changed)


@pytest.mark.parametrize("changed", [{}, {"command": "get-token"}, {"installHint": "buy it"}])
@pytest.mark.parametrize("line", [LINE, LINE.replace("https://k.example", "https://K.Example")])
def test_a_plugin_runs_as_the_operator_wrote_it(changed: dict[str, Any], line: str) -> None:
    found = permitted(plugin(**changed), Upstream(plugins=("https://other /bin/x", line)))
    assert found.plugin == SECTION


@pytest.mark.parametrize(
    "changed",
    [
        {"command": "/tmp/get-token"},
        {"command": "./get-token"},
        {"command": "/opt/../opt/get-token"},
        {"command": "sh"},
        {"args": ["--for", "my", "cluster"]},
        {"args": ["--for", "my cluster", "--endpoint", "https://evil"]},
        {"args": None},
        {"args": "--for"},
        {"args": ["--for", {"a": 1}]},
        {"env": None},
        {"env": [{"name": "PROFILE", "value": "prod"}, {"name": "LD_PRELOAD", "value": "/x"}]},
        {"env": [{"name": "PROFILE", "value": "test"}]},
        {"env": ["PROFILE=prod"]},
        {"env": [{"name": "PROFILE", "value": 1}]},
    ],
)
def test_another_command_does_not(changed: dict[str, Any]) -> None:
    with pytest.raises(AccessError, match=r"upstream\.plugins") as caught:
        permitted(plugin(**changed), Upstream(plugins=(LINE,)))
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize(
    "server",
    [
        "https://k.example",
        "https://k.example:6444",
        "https://k.example:6443/p",
        "https://evil:6443",
    ],
)
def test_each_is_for_one_server(server: str) -> None:
    permit = Upstream(plugins=(LINE,), token_files=(f"{SERVER} /run/t",))
    with pytest.raises(AccessError, match="has not permitted"):
        permitted(replace(plugin(), server=server), permit)
    with pytest.raises(AccessError, match="has not permitted"):
        permitted(Access(server, token_file=Path("/run/t")), permit)


@pytest.mark.parametrize("access", [plugin(), Access(SERVER, token_file=Path("/run/t"))])
def test_an_unverified_server_gets_nothing_of_the_machine(access: Access) -> None:
    permit = Upstream(plugins=(LINE,), token_files=(f"{SERVER} /run/t",))
    assert permitted(access, permit).server == SERVER
    with pytest.raises(AccessError, match="unverified"):
        permitted(replace(access, insecure=True), permit)


@pytest.mark.parametrize("file", ["/run/u", "/run/../run/t", "/run/t/"])
def test_another_file_is_not_read(file: str) -> None:
    access = Access(SERVER, token_file=Path(file) if file != "/run/t/" else Path("/run/t/x"))
    with pytest.raises(AccessError, match=r"upstream\.token_files"):
        permitted(access, Upstream(token_files=(f"{SERVER} /run/t",)))


def test_plain_http_is_for_listed_servers() -> None:
    access = Access("http://127.0.0.1:8001", token="t")
    with pytest.raises(AccessError, match=r"upstream\.plain_http"):
        permitted(access, Upstream(plain_http=("http://127.0.0.1:8002", "http://localhost:8001")))
    assert permitted(access, Upstream(plain_http=("http://127.0.0.1:8001/",))) is access


@pytest.mark.parametrize(
    "access",
    [
        plugin(),
        Access(SERVER, token_file=Path("/run/a token")),
        Access("http://127.0.0.1:8001", token="t"),
        Access(SERVER, token="t"),
    ],
)
def test_what_an_operator_named_themselves_is_permitted(access: Access) -> None:
    permit = permitting(Upstream(), access, "/opt/get-token")
    assert permitted(access, permit) == access
    assert (permit == Upstream()) == (access == Access(SERVER, token="t"))


def test_what_goes_on_record_is_no_secret() -> None:
    access = Access(SERVER, token="hunter2", insecure=True)
    assert described(access.document("x").decode()) == {
        "server": SERVER,
        "login": "token",
        "insecure": True,
    }
    assert described("token: [hunter2") == {"login": "cannot be read"}


@dataclass
class Machine:
    """The proxy's machine: a program and a file that give what the cluster accepts."""

    api: FakeApi
    program: Path
    file: Path
    ran: Path

    def section(self, **changed: Any) -> dict[str, Any]:
        return {"apiVersion": V1, "command": "get-token", "args": ["a b"]} | changed


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    answer = {"apiVersion": V1, "kind": "ExecCredential", "status": {"token": "good"}}
    program, ran, file = (tmp_path / name for name in ("get-token", "ran", "token"))
    program.write_text(f"#!/bin/sh\necho \"$@\" >> {ran}\necho '{json.dumps(answer)}'\n")
    program.chmod(0o700)
    file.write_text("good")
    async with serving(FakeApi(), tmp_path / "tls") as api:
        yield Machine(api, program, file, ran)


async def reach(access: Access, upstream: Upstream) -> None:
    handle = await load_target(
        "prod", access.document("prod"), upstream=upstream, clock=SystemClock()
    )
    try:
        await answers(handle.target)
    finally:
        await handle.close()


async def test_a_cluster_is_reached_with_what_is_permitted(machine: Machine) -> None:
    access = Access(machine.api.server, ca_pem=machine.api.ca_pem, plugin=machine.section())
    with pytest.raises(AccessError):
        await reach(access, Upstream())
    assert not machine.ran.exists()
    await reach(access, Upstream(plugins=(f"{access.server} {machine.program} 'a b'",)))
    assert machine.ran.read_text() == "a b\n"
    access = replace(access, plugin=None, token_file=machine.file)
    await reach(access, Upstream(token_files=(f"{access.server} {machine.file}",)))

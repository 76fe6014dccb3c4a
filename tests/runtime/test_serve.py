"""One proxy in one process: ready, looked at, stopped, and what keeps it from starting."""

import asyncio
import os
import shutil
import socket
import ssl
from pathlib import Path

import pytest
from aiohttp import ClientSession

from proxy.cli.client import Client
from proxy.cli.connection import of_data_dir
from proxy.clock import SystemClock
from proxy.data_dir import DataDir
from proxy.errors import ConflictError, NotFoundError, UnavailableError
from proxy.pki.authorities import Authorities
from proxy.pki.server import server_certificate
from proxy.runtime import identity
from proxy.runtime.essential import EssentialTaskError
from proxy.runtime.process import Stop
from proxy.runtime.serve import serve
from proxy.runtime.slots import unsealed
from proxy.settings import Settings
from tests.audit.reading import records
from tests.runtime.processes import running


async def page(address: str, path: str) -> tuple[int, str]:
    async with ClientSession() as session, session.get(f"http://{address}{path}") as answer:
        return answer.status, await answer.text()


async def test_a_proxy_is_ready_and_says_where_it_listens(settings: Settings) -> None:
    async with running(settings) as (started, _):
        assert await page(started.metrics, "/livez") == (200, "ok\n")
        status, text = await page(started.metrics, "/readyz?verbose")
        names = [line[3:].split()[0] for line in text.splitlines()[:-1]]
        assert (status, names) == (
            200,
            ["shutdown", "audit", "journal", "state", "index", "certificate", "data-plane"],
        )
        _, metrics = await page(started.metrics, "/metrics")
        assert 'kubewitness_build_info{version="' in metrics
        assert "kubewitness_journal_ok 1.0" in metrics


async def test_commands_find_the_control_plane_where_it_really_listens(settings: Settings) -> None:
    async with running(settings) as (started, _):
        server = of_data_dir(settings.data_dir)
        assert server.address == started.control
        found = await asyncio.to_thread(Client(server).get, "/clusters")
        assert found["items"] == []


async def test_a_stop_leaves_every_journal_sealed_and_the_directory_free(
    settings: Settings,
) -> None:
    data = DataDir(settings.data_dir)
    async with running(settings):
        assert (data.in_use, unsealed(data)) == (True, {"main"})
    assert (data.in_use, unsealed(data)) == (False, set())


async def test_a_second_start_needs_no_second_credential_and_a_lost_directory_is_made(
    settings: Settings,
) -> None:
    data = DataDir(settings.data_dir)

    def told() -> list[tuple[str, str]]:
        return [
            (item["action"], item.get("outcome", "ok"))
            for item in records(data.path, "main")
            if item["action"].startswith("credential.")
        ]

    issued = [("credential.issue", "requested"), ("credential.issue", "ok")]
    for _ in range(2):
        async with running(settings):
            assert told() == issued, "only what `init` issued"
    shutil.rmtree(data.admin)
    async with running(settings):
        revoked = [("credential.revoke", "requested"), ("credential.revoke", "ok")]
        assert told() == [*issued, *issued, *revoked]
        found = await asyncio.to_thread(Client(of_data_dir(data.path)).get, "/credentials")
        assert [item["user"] for item in found["items"] if item["status"] == "valid"] == ["admin"]


async def test_a_setting_that_changed_between_two_starts_is_on_record(settings: Settings) -> None:
    async with running(settings):
        pass
    for _ in range(2):
        async with running(settings.model_copy(update={"drain_timeout": 1.0})):
            pass
    found = [
        item for item in records(settings.data_dir, "main") if item["action"] == "settings.change"
    ]
    assert [item.get("outcome", "ok") for item in found] == ["requested", "ok"] * 2
    assert found[0]["detail"]["after"]["drain_timeout"] == 2.0
    assert found[2]["detail"]["before"] == {"drain_timeout": 2.0}
    assert found[3]["detail"]["after"] == {"drain_timeout": 1.0}
    assert found[3]["detail"]["via"] == "serve"
    assert (found[3]["detail"]["uid"], "actor" in found[3]) == (os.getuid(), False)


async def test_while_it_stops_it_is_not_ready(settings: Settings) -> None:
    async with running(settings) as (started, stop):
        reader, writer = await asyncio.open_connection(*started.data_plane.split(":"))
        stop.ask("test")
        status, text = await page(started.metrics, "/readyz")
        assert status == 503
        assert "[-]shutdown failed: stopping" in text
        writer.close()
        await writer.wait_closed()
        assert await reader.read() == b""


async def test_a_second_one_on_the_same_directory_is_refused(settings: Settings) -> None:
    async with running(settings):
        with pytest.raises(ConflictError, match=r"is in use by a running .* \(process \d+\)"):
            await serve(settings, lambda _: None, stop=Stop())


async def test_a_directory_without_init_is_refused(settings: Settings, tmp_path: Path) -> None:
    elsewhere = settings.model_copy(update={"data_dir": tmp_path / "other"})
    with pytest.raises(NotFoundError, match="Run `kubewitness init --data-dir"):
        await serve(elsewhere, lambda _: None, stop=Stop())


@pytest.mark.parametrize("name", ["listen", "control", "metrics"])
async def test_an_address_that_is_taken_is_named_with_its_flag(
    settings: Settings, name: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UnavailableError, match=f"{address}.* --{name}"):
            await serve(settings.model_copy(update={name: address}), lambda _: None, stop=Stop())
    assert unsealed(DataDir(settings.data_dir)) == set(), "nothing was opened"


@pytest.mark.parametrize("name", ["indexer", "certificates"])
async def test_it_ends_when_a_part_ends(settings: Settings, name: str) -> None:
    async def lose_the_part() -> None:
        async with running(settings):
            (task,) = (item for item in asyncio.all_tasks() if item.get_name() == name)
            task.cancel()
            while DataDir(settings.data_dir).in_use:
                await asyncio.sleep(0.01)

    with pytest.raises(EssentialTaskError, match=f"{name} stopped"):
        await lose_the_part()


async def test_a_new_server_certificate_is_shown_without_a_restart(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "LOOK_INTERVAL", 0.01)
    authorities = Authorities.open(DataDir(settings.data_dir).pki, clock=SystemClock())
    client = ssl.create_default_context(cadata=authorities.bundle_pem().decode())
    async with running(settings) as (started, _):
        server_certificate(authorities, ["localhost", "new.example"], clock=SystemClock())
        for address in (started.data_plane, started.control):
            host, port = address.split(":")
            async with asyncio.timeout(5):
                while True:
                    try:
                        _, writer = await asyncio.open_connection(
                            host, port, ssl=client, server_hostname="new.example"
                        )
                    except ssl.SSLCertVerificationError:
                        await asyncio.sleep(0.01)
                        continue
                    writer.close()
                    await writer.wait_closed()
                    break

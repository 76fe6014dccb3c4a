"""Commands on the server's disk: each is on record with who ran it, whether a server runs or not."""

import asyncio
import os
import pwd
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import JournalUnavailableError
from proxy.cli.client import Client
from proxy.cli.connection import of_data_dir
from proxy.data_dir import DataDir
from proxy.runtime import local_acts as module
from proxy.runtime.local_acts import SLOT, VIA, local_acts, person
from proxy.settings import Settings
from tests.audit.reading import records
from tests.runtime.processes import initialised, running


def acts(settings: Settings) -> list[dict[str, Any]]:
    """What commands recorded."""
    found = records(settings.data_dir, SLOT)
    return [item for item in found if item["action"] not in ("journal.open", "journal.close")]


def test_who_is_whom_the_operating_system_says() -> None:
    actor = person()
    login = pwd.getpwuid(os.getuid()).pw_name
    assert actor.name == f"os:{login}"
    wanted = {"via": VIA, "host": socket.gethostname(), "uid": os.getuid(), "login": login}
    assert dict(actor.detail) | wanted == dict(actor.detail)


async def test_it_is_durable_before_and_after_while_nothing_serves(settings: Settings) -> None:
    async with local_acts(DataDir(settings.data_dir), settings).act("index.rebuild", "x"):
        (intent,) = acts(settings)
        assert (intent["outcome"], intent["detail"]["via"]) == ("requested", VIA)
    assert [item.get("outcome", "ok") for item in acts(settings)] == ["requested", "ok"]


async def test_a_running_server_shows_it(settings: Settings) -> None:
    async with running(settings):
        async with local_acts(DataDir(settings.data_dir), settings).act("index.rebuild", "x"):
            pass
        client = Client(of_data_dir(settings.data_dir))
        query = {"kind": ["system"], "action": ["index.rebuild"]}
        async with asyncio.timeout(10):
            while len(items := await asyncio.to_thread(_items, client, query)) < 2:
                await asyncio.sleep(0.05)
    assert {item["actor"] for item in items} == {person().name}


def _items(client: Client, query: Mapping[str, object]) -> list[Any]:
    found: list[Any] = client.get("/audit/calls", query)["items"]
    return found


async def test_two_commands_at_once_both_have_their_record(settings: Settings) -> None:
    async def one(name: str) -> None:
        async with local_acts(DataDir(settings.data_dir), settings).act("index.rebuild", name):
            await asyncio.sleep(0)

    await asyncio.gather(*(one(str(number)) for number in range(4)))
    assert sorted(item["target"] for item in acts(settings)) == sorted("00112233")


async def test_a_slot_that_stays_taken_is_an_error_and_nothing_is_done(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    data = DataDir(settings.data_dir)
    held = await JournalWriter.open(data.path, SLOT, settings.journal)
    done = []
    with pytest.raises(JournalUnavailableError, match="in use"):
        async with local_acts(data, settings).act("index.rebuild", "x"):
            done.append(1)
    assert done == []
    await held.close()


async def test_a_server_starts_while_a_command_writes(settings: Settings) -> None:
    data = DataDir(settings.data_dir)
    held = await JournalWriter.open(data.path, SLOT, settings.journal)
    async with running(settings) as (started, _):
        assert started.control
    await held.close()


@pytest.mark.usefixtures("own_environment")
async def test_what_root_writes_belongs_to_the_directorys_owner() -> None:
    """Only root can give the directory away; anybody else is its owner already."""
    owner = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else os.getuid()
    with tempfile.TemporaryDirectory() as top:  # a way that others may go
        settings = await asyncio.to_thread(initialised, Path(top) / "data")
        for path in (Path(top), *Path(top).rglob("*")):
            os.chown(path, owner, -1)
        async with local_acts(DataDir(settings.data_dir), settings).act("index.rebuild", "x"):
            pass
        assert os.geteuid() == os.getuid()
        assert {path.stat().st_uid for path in Path(top).rglob("*")} == {owner}
        assert {item["detail"]["uid"] for item in acts(settings)} == {os.getuid()}

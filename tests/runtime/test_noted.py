"""What was done where no journal was, on record by the next start, once and for what it is."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.audit.event import SystemEvent
from proxy.clock import ManualClock, SystemClock, rfc3339
from proxy.errors import NotFoundError, UnavailableError
from proxy.runtime.database import upgrade
from proxy.runtime.local_acts import person
from proxy.runtime.noted import FILE, as_file, note_of, record_noted
from proxy.runtime.shared_keys import new_shared, write_shared
from proxy.settings import TLS, Settings
from proxy.state.database import sqlite_url
from proxy.state.repository import StateStore
from proxy.state.sealing import SecretBox
from tests.audit.reading import records
from tests.audit.written import Written
from tests.postgres import Database
from tests.runtime.processes import running

CLOCK = ManualClock()
BOX = SecretBox(bytes(32))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[StateStore]:
    found = await StateStore.open(sqlite_url(tmp_path / "state.db"), BOX, clock=CLOCK)
    yield found
    await found.close()


def using(directory: Path) -> Settings:
    return Settings(tls=TLS(ca_cert_file=directory / "ca.crt", ca_key_file=directory / "ca.key"))


async def generated(directory: Path) -> Settings:
    write_shared(directory, await new_shared(CLOCK, person(), str(directory)))
    return using(directory)


async def test_who_made_an_authority_is_recorded_by_the_first_start_with_it(
    store: StateStore, tmp_path: Path
) -> None:
    settings, written = await generated(tmp_path / "keys"), Written()
    done = rfc3339(CLOCK.now())
    CLOCK.advance(86_400)
    for _ in range(2):
        await record_noted(settings, store, written.write, CLOCK)
    intent, outcome = written.events
    assert (intent.action, intent.outcome, outcome.outcome) == ("authority.generate", "requested", "ok")  # fmt: skip
    assert (outcome.actor, outcome.event_id) == (person().name, intent.event_id)
    assert (outcome.detail["notedAt"], outcome.stage_timestamp) == (done, rfc3339(CLOCK.now()))
    assert outcome.detail["place"] == str(tmp_path / "keys")


async def test_what_cannot_be_recorded_is_not_lost(store: StateStore, tmp_path: Path) -> None:
    settings, written = await generated(tmp_path / "keys"), Written()
    written.full = True
    with pytest.raises(UnavailableError):
        await record_noted(settings, store, written.write, CLOCK)
    written.full = False
    await record_noted(settings, store, written.write, CLOCK)
    assert len(written.events) == 2


@pytest.mark.parametrize("action", ["grant.add", "credential.revoke", "audit.hold.release"])
async def test_no_other_act_is_taken_from_a_note(
    store: StateStore, tmp_path: Path, action: str
) -> None:
    """Whoever writes into the database or beside the keys makes no false acts of other people."""
    written = Written()
    forged = note_of(SystemEvent("id", rfc3339(CLOCK.now()), action, actor="alice"), CLOCK)
    (tmp_path / FILE).write_bytes(as_file([forged]))
    await record_noted(using(tmp_path), store, written.write, CLOCK)
    assert written.events == []


@pytest.mark.parametrize(
    "text", ["", "{}", '[{"id": 1}]', '[{"id":"x","noted_at":1,"event":"no"}]']
)
async def test_a_damaged_note_keeps_nobody_from_starting(
    store: StateStore, tmp_path: Path, text: str
) -> None:
    (tmp_path / FILE).write_text(text)
    written = Written()
    await record_noted(using(tmp_path), store, written.write, CLOCK)
    assert written.events == []


async def noted(url: str) -> list[SystemEvent]:
    """What a server that starts on the database records."""
    store = await StateStore.open(url, BOX, clock=CLOCK)
    written = Written()
    await record_noted(Settings(), store, written.write, CLOCK)
    await store.close()
    return written.events


def login(database: Database) -> str:
    database.exec(
        """
        DO $$ BEGIN
          IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kw_noted_login') THEN
            CREATE ROLE kw_noted_login LOGIN PASSWORD 'p';
          END IF;
        END $$;
        """
    )
    return database.login("kw_noted_login", "p")


async def test_an_upgrade_is_recorded_by_the_next_start(database: Database) -> None:
    url = login(database)
    await upgrade(database.url, ["kw_noted_login"], lambda _: None, actor=person())
    intent, outcome = await noted(url)
    assert (intent.action, intent.outcome, outcome.outcome) == ("database.upgrade", "requested", "ok")  # fmt: skip
    assert (intent.actor, intent.detail["logins"]) == (person().name, ["kw_noted_login"])
    assert outcome.detail["changed"] is True
    password = database.url.split("@", 1)[0].rsplit(":", 1)[1]
    assert "@" not in intent.target
    assert f":{password}@" not in str((intent, outcome))
    assert await noted(url) == []
    with pytest.raises(NotFoundError):
        await upgrade(database.url, ["nobody-there"], lambda _: None, actor=person())
    requested, failed = await noted(url)
    assert (requested.outcome, failed.outcome[:8]) == ("requested", "failed: ")
    assert "nobody-there" in failed.outcome


async def test_a_start_has_it_in_its_journal(settings: Settings, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    write_shared(keys, await new_shared(SystemClock(), person(), str(keys)))
    tls = TLS(ca_cert_file=keys / "ca.crt", ca_key_file=keys / "ca.key")
    for _ in range(2):
        async with running(settings.model_copy(update={"tls": tls})):
            pass
    found: list[dict[str, Any]] = [
        item
        for item in records(settings.data_dir, "main")
        if item["action"] == "authority.generate"
    ]
    assert [item.get("outcome", "ok") for item in found] == ["requested", "ok"]
    assert "PRIVATE" not in json.dumps(found)

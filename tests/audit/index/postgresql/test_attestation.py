"""A server that would not keep records, or whose guards are down, counts as down."""

from collections.abc import Iterator
from typing import Any

import pytest

from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.postgresql.attestation import Facts, Guarded, attest
from proxy.audit.index.postgresql.ddl import SCHEMA_VERSION
from proxy.audit.index.postgresql.identity import Identity
from proxy.audit.index.postgresql.upgrade import upgrading
from proxy.errors import SettingsError, UnavailableError
from tests.postgres import Database, Postgres

GUARDS = ("kubewitness_guard", "kubewitness_row")
DAY = Guarded("events_d20270115", "kubewitness_owner", GUARDS, ())
LEFT = Guarded("removed", "kubewitness_owner", GUARDS[:1], ())
GOOD = Facts(
    version=16,
    recovering=False,
    identifier=7,
    timeline=3,
    schema=SCHEMA_VERSION,
    settings={
        "fsync": "on",
        "full_page_writes": "on",
        "data_sync_retry": "off",
        "zero_damaged_pages": "off",
        "ignore_checksum_failure": "off",
        "session_replication_role": "origin",
        "transaction_read_only": "off",
    },
    login="app",
    login_may=(),
    owner_may=(),
    tables=(Guarded("events", "kubewitness_owner", GUARDS, ()), DAY, LEFT),
    unlogged=(),
)
BEFORE = Identity(7, 3)


def setting(name: str, value: str | None) -> Facts:
    settings = {key: known for key, known in GOOD.settings.items() if key != name}
    return GOOD._replace(settings=settings | ({name: value} if value is not None else {}))


def day(**given: Any) -> Facts:
    return GOOD._replace(tables=(GOOD.tables[0], DAY._replace(**given), LEFT))


def bad() -> Iterator[tuple[str, Facts, str]]:
    for name, value in GOOD.settings.items():
        other = {"on": "off", "off": "on", "origin": "replica"}[value]
        yield f"{name}={other}", setting(name, other), f"{name} is {other}"
        yield f"{name} unreadable", setting(name, None), f"{name} cannot be read"
    yield "local", setting("session_replication_role", "local"), "is local"
    yield "old", GOOD._replace(version=14), "older than 15"
    yield "standby", GOOD._replace(recovering=True), "standby"
    yield "other server", GOOD._replace(identifier=8), "another server"
    yield "restored", GOOD._replace(timeline=2), "from timeline 3 to 2"
    for may in ("SUPERUSER", "BYPASSRLS", "CREATEROLE", "REPLICATION", "pg_write_all_data"):
        yield f"login {may}", GOOD._replace(login_may=(may,)), f"app has {may}"
    for may in ("LOGIN", "SUPERUSER", "missing"):
        yield f"owner {may}", GOOD._replace(owner_may=(may,)), "kubewitness_owner"
    yield "no tables", GOOD._replace(tables=()), "no table of records"
    yield "only what left", GOOD._replace(tables=(LEFT,)), "no table of records"
    yield "unlogged", GOOD._replace(unlogged=("postings",)), "postings is emptied by a crash"
    left = LEFT._replace(guards=())
    yield "what left unguarded", GOOD._replace(tables=(DAY, left)), "removed is not guarded"
    yield "foreign owner", day(owner="app"), "belongs to app"
    yield "no guard", day(guards=("kubewitness_row",)), "kubewitness_guard does not fire"
    yield "no row guard", day(guards=("kubewitness_guard",)), "kubewitness_row does not fire"
    for right in ("UPDATE", "DELETE", "TRUNCATE", "TRIGGER", "REFERENCES"):
        yield right, day(rights=(f"kubewitness_writer: {right}",)), f"kubewitness_writer: {right}"


BAD = list(bad())


def test_what_is_as_it_must_be_is_good() -> None:
    assert attest(GOOD, None) == BEFORE
    assert attest(GOOD._replace(timeline=4), BEFORE) == Identity(7, 4), "a failover"
    assert len(BAD) >= 30


@pytest.mark.parametrize(("facts", "says"), [item[1:] for item in BAD], ids=[b[0] for b in BAD])
def test_what_is_not_counts_as_down(facts: Facts, says: str) -> None:
    with pytest.raises(UnavailableError) as refused:
        attest(facts, BEFORE)
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("schema", "says"), [(None, "no schema of ours"), (0, "needs schema"), (99, "newer release")]
)
def test_another_schema_is_not_written_to(schema: int | None, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        attest(GOOD._replace(schema=schema), None)


@pytest.fixture
async def url(database: Database) -> str:
    database.exec("DROP ROLE IF EXISTS attested")
    database.exec("CREATE ROLE attested LOGIN PASSWORD 'secret'")
    async with upgrading(database.url, ["attested"], lambda _: None):
        pass
    return database.login("attested", "secret")


async def refusal(url: str) -> str:
    index = await PostgresIndex.open(url)
    try:
        await index.attest()
    except (UnavailableError, SettingsError) as error:
        return error.message
    finally:
        await index.close()
    return ""


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("SELECT 1", ""),
        ("ALTER TABLE kubewitness.events_past SET UNLOGGED", "UNLOGGED"),
        ("ALTER TABLE kubewitness.postings SET UNLOGGED", "postings is emptied by a crash"),
        ("ALTER TABLE kubewitness.blocks SET UNLOGGED", "blocks is emptied by a crash"),
        ("ALTER TABLE kubewitness.open_calls SET UNLOGGED", "open_calls is emptied by a crash"),
        ("ALTER TABLE kubewitness.removed SET UNLOGGED", "removed is emptied by a crash"),
        ("DROP TRIGGER kubewitness_guard ON kubewitness.removed", "removed is not guarded"),
        ("GRANT DELETE ON kubewitness.removed TO kubewitness_writer", "writer: DELETE"),
        ("ALTER TABLE kubewitness.events_past DISABLE TRIGGER kubewitness_guard", "not guarded"),
        ("ALTER TABLE kubewitness.events_past ENABLE TRIGGER kubewitness_guard", "not guarded"),
        ("DROP TRIGGER kubewitness_guard ON kubewitness.events_future", "not guarded"),
        ("GRANT DELETE ON kubewitness.events_past TO kubewitness_writer", "writer: DELETE"),
        ("GRANT UPDATE ON kubewitness.events TO PUBLIC", "public: UPDATE"),
        ("ALTER TABLE kubewitness.events_past OWNER TO postgres", "belongs to postgres"),
        ("UPDATE kubewitness.index_schema SET version = 99", "newer release"),
        ("DROP TABLE kubewitness.index_schema", "no schema of ours"),
        # By any means of the login itself: our session does not take it over.
        ("ALTER ROLE attested SET synchronous_commit = off", ""),
        ("ALTER ROLE attested SET search_path = public", ""),
        ("ALTER ROLE attested SET default_transaction_read_only = on", ""),
    ],
)
async def test_a_real_server(url: str, database: Database, statement: str, says: str) -> None:
    database.exec(statement)
    said = await refusal(url)
    assert (says in said) if says else said == ""


@pytest.mark.parametrize("grant", ["SUPERUSER", "CREATEROLE", "BYPASSRLS", "REPLICATION"])
async def test_a_login_that_may_too_much(url: str, database: Database, grant: str) -> None:
    database.exec(f"ALTER ROLE attested {grant}")
    assert grant in await refusal(url)


def sync(server: Postgres, value: str) -> None:
    server.configure(fsync=value, full_page_writes=value)
    server.reload()
    while value not in server.exec("SHOW full_page_writes"):
        pass  # the signal is on its way; pytest's timeout bounds this


async def test_a_server_that_does_not_sync(url: str, postgres: Postgres) -> None:
    sync(postgres, "off")
    try:
        said = await refusal(url)
        assert "fsync is off" in said
        assert "full_page_writes is off" in said
    finally:
        sync(postgres, "on")
    assert await refusal(url) == ""

"""Who may go on while the gate is closed, and that nothing else goes out."""

import asyncio
import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.audit.event import ResponseStatus, User
from proxy.audit.gate import Gate, Level
from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import JournalUnavailableError
from proxy.authn.authenticate import Authenticated
from proxy.clock import SystemClock
from proxy.gateway.admission import Admission
from proxy.gateway.exchange import Described, Identified, Received, Routed
from proxy.gateway.record import CallRecord
from proxy.kube.request_info import describe
from proxy.metrics import Metrics
from proxy.settings import Journal, Settings
from proxy.state.snapshot import Credential, Usage
from tests.audit.journals import FaultyStorage, a_call, writing
from tests.audit.reading import dense, records
from tests.gateway.conftest import Make
from tests.gateway.world import World

PODS = "/clusters/prod/api/v1/namespaces/shop/pods"
SETTINGS = Settings(listen="127.0.0.1:0", journal=Journal(break_glass_group="firefighters"))
FULL = "records cannot be made durable: No space left on device"
AS_MEMBER = ("Impersonate-User: bob", "Impersonate-Group: firefighters")
EXEC = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGVzdA==")


def close(world: World, state: str, reserve: int) -> None:
    """Bring the record into a state; `reserve` bytes can be used when the disk is full."""
    if "journal" in state:
        world.journal.failure = FULL
        world.journal.reserve_left = reserve
        world.gate.report("journal", Level.CLOSED, FULL)
    if "silent" in state:
        # The journal knows already; the gate has not heard of it.
        world.journal.failure = FULL
        world.journal.reserve_left = reserve
    if "database" in state:
        world.gate.report("database", Level.CLOSED, "the database is away")
    if "space" in state:
        world.gate.report("space", Level.DEGRADED, "4 % free")


@pytest.fixture
async def world(make_world: Make) -> World:
    world = await make_world(SETTINGS)
    world.issue("ada", "dev", "firefighters")
    return world


@pytest.mark.parametrize(
    ("state", "reserve", "user", "forwarded"),
    [
        ("", 0, "alice", True),
        ("", 0, "ada", True),
        ("space", 0, "alice", True),
        ("journal", 0, "alice", False),
        ("journal", 1000, "alice", False),
        ("journal", 0, "ada", False),
        ("journal", 1000, "ada", True),
        ("silent", 1000, "alice", False),
        ("silent", 1000, "ada", True),
        ("journal space", 1000, "ada", True),
        ("database", 0, "alice", False),
        ("database", 1000, "ada", False),
        ("journal database", 1000, "ada", False),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", PODS), ("POST", PODS), ("GET", "/clusters/prod/version")]
)
async def test_who_goes_on(
    world: World, state: str, reserve: int, user: str, forwarded: bool, method: str, path: str
) -> None:
    close(world, state, reserve)
    status, headers, body = await world.get(path, user=user, method=method)
    assert len(world.requests) == forwarded
    if forwarded:
        assert status == 200
        return
    assert status == 503
    said = body.decode()
    if path == PODS:
        answer = json.loads(body)
        assert (answer["kind"], answer["reason"]) == ("Status", "ServiceUnavailable")
        said = answer["message"]
    assert (world.gate.failure or FULL) in said
    # client-go would send it again ten times.
    assert "retry-after" not in headers


@pytest.mark.parametrize(
    ("user", "headers"),
    [
        ("alice", ()),
        ("alice", AS_MEMBER),
        ("alice", EXEC),
        ("ada", ()),
    ],
    ids=["plain", "asks to be a member", "upgrade", "nobody is a member"],
)
async def test_nothing_goes_out_for_who_is_refused(
    make_world: Make, user: str, headers: tuple[str, ...]
) -> None:
    """Neither the call nor an access review for `--as`; and an empty setting means nobody."""
    nobody = Settings(listen="127.0.0.1:0")
    world = await make_world(nobody if user == "ada" else SETTINGS)
    world.issue("ada", "dev", "firefighters", "system")
    close(world, "journal", 1000)
    assert (await world.get(PODS, *headers, user=user))[0] == 503
    assert world.requests == []
    assert world.metrics.registry.get_sample_value("kubewitness_break_glass_calls_total") == 0


async def test_each_use_is_announced_before_it_goes_on(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    close(world, "journal", 1000)
    assert (await world.get(PODS, user="ada", method="POST"))[0] == 200
    announced, intent, outcome = world.journal.lines
    assert announced["action"] == "audit.break-glass"
    assert announced["actor"] == "ada"
    assert announced["target"] == intent["auditID"]
    assert announced["detail"] == {
        "cause": FULL,
        "group": "firefighters",
        "cluster": "prod",
        "verb": "create",
        "reserveLeft": 1000,
    }
    for line in (intent, outcome):
        assert line["annotations"]["kubewitness.io/break-glass"] == FULL
        assert line["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert world.metrics.registry.get_sample_value("kubewitness_break_glass_calls_total") == 1
    assert "break-glass: a call goes on while others are refused" in capsys.readouterr().out


async def test_an_announcement_that_cannot_be_made_durable_stops_the_call(world: World) -> None:
    close(world, "journal", 1000)
    world.journal.refuse_from = 0
    assert (await world.get(PODS, user="ada"))[0] == 503
    assert world.requests == []


async def test_what_a_member_may_not_do_stays_forbidden(world: World) -> None:
    close(world, "journal", 1000)
    status, _, _ = await world.get("/clusters/other/api/v1/pods", user="ada")
    assert status == 403
    assert world.requests == []
    announced, intent, outcome = world.journal.lines
    assert (announced["action"], outcome["stage"]) == ("audit.break-glass", "ResponseComplete")
    assert intent["annotations"]["kubewitness.io/break-glass"] == FULL
    assert intent["annotations"]["authorization.k8s.io/decision"] == "forbid"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("source", ["journal", "database"])
async def test_a_gate_that_closes_before_the_first_byte_goes_out(
    world: World, method: str, source: str
) -> None:
    """The intent is durable by then; the call is refused all the same."""
    world.journal.hold = method == "POST"
    if method == "GET":
        # Between the intent and the forwarding of a read nothing waits: close it in the append.
        append = world.journal.append

        def closing(body: bytes, **options: Any) -> asyncio.Future[int]:
            world.gate.report(source, Level.CLOSED, "away")
            return append(body, **options)

        world.journal.append = closing  # type: ignore[method-assign]
    call = asyncio.create_task(world.get(PODS, method=method))
    if method == "POST":
        await world.until(lambda: world.journal.waiting)
        world.gate.report(source, Level.CLOSED, "away")
        world.journal.hold = False
        world.journal.sync()
    status, _, body = await call
    assert (status, world.requests) == (503, [])
    assert "away" in json.loads(body)["message"]
    assert (await world.settled(1))[0]["closeReason"] == "record-failed"


async def test_an_open_gate_lets_the_next_call_through_and_counts_the_refused(world: World) -> None:
    recorded: list[dict[str, Any]] = []
    world.gate.attach(lambda body: recorded.append(json.loads(b"{" + body + b"}")))
    close(world, "database", 0)
    for _ in range(3):
        assert (await world.get(PODS))[0] == 503
    world.gate.report("database", Level.OK)
    assert (await world.get(PODS))[0] == 200
    assert [event["detail"].get("refusedCalls") for event in recorded] == [None, 3]


def identified(journal: JournalWriter, user: str, *groups: str) -> Identified:
    """A call of `user` that came as far as step 4."""
    call = a_call(user=User(user, groups=groups))
    record = CallRecord(journal, SystemClock(), call, SystemClock().now())
    connection: Any = None
    request: Any = None
    described = describe("GET", b"/api/v1/pods", upgrade=False)
    stage = Routed(Received(connection, request, record), "prod", b"/api/v1/pods")
    credential = Credential("1", user, groups, ("prod",), Usage.KUBECTL, 0, 1e10, "")
    return Identified(
        Described(stage, described.info, described.call_class, False),
        Authenticated(user, groups, "1", credential),
    )


async def serve(admission: Admission, who: Identified) -> bool:
    """A call's way through its record; whether it may go out."""
    record = who.described.routed.received.record
    try:
        await admission.admit(who)
        await record.intend()
        admission.check(record)
        await record.end(ResponseStatus(200))
    except JournalUnavailableError:
        return False
    return True


async def test_on_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """The journal, the gate and break-glass together, from ok to closed and back."""
    disk, clock, metrics = FaultyStorage(), SystemClock(), Metrics()
    reserve = 2 * 1024 * 1024
    async with writing(tmp_path, disk, clock, reserve_bytes=reserve) as journal:
        gate = Gate(clock=clock, metrics=metrics)
        gate.attach(journal.post)
        journal.on_state(lambda level, cause: gate.report("journal", Level(level), cause))
        admission = Admission(gate, journal, "firefighters", clock=clock, metrics=metrics)
        async with asyncio.timeout(10):
            await until((tmp_path / "journal" / "0" / "reserve").exists)
            assert await serve(admission, identified(journal, "alice", "dev"))
            disk.fail["create"] = OSError(errno.ENOSPC, "No space left on device")
            before = 0
            while await serve(admission, identified(journal, "alice", "dev")):
                before += 1
                assert before < 10_000, "the segment never got full"
            await until(lambda: journal.reserve_left > 0)
        assert gate.level is Level.CLOSED
        assert "the disk is full" in gate.failure
        assert not await serve(admission, identified(journal, "alice", "dev"))
        uses = 0
        while await serve(admission, identified(journal, "ada", "dev", "firefighters")):
            uses += 1
            assert not await serve(admission, identified(journal, "alice", "dev"))
        assert uses > 500, "two megabytes are enough for more"
        assert uses < 2000, "the reserve has no end"
        disk.fail.clear()
        async with asyncio.timeout(2):
            await until(lambda: gate.level is Level.OK)
        assert await serve(admission, identified(journal, "alice", "dev"))
        gate.close()
    found = records(tmp_path)
    assert dense(found)
    states = [line["outcome"] for line in found if line.get("action") == "audit.state"]
    assert (states[0], states[-1]) == ("closed", "ok")
    announced = [line for line in found if line.get("action") == "audit.break-glass"]
    assert uses <= len(announced) <= uses + 1
    intents = [line for line in found if line.get("stage") == "RequestReceived"]
    used = [line for line in intents if "kubewitness.io/break-glass" in line.get("annotations", {})]
    assert uses <= len(used) <= uses + 1
    assert {line["user"]["username"] for line in used} == {"ada"}


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)

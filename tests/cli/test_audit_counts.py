"""Who touched what, and how often."""

from proxy.audit.event import ObjectRef, User
from tests.cli.conftest import Command
from tests.control.plane import Plane


def test_who_touched_an_object(plane: Plane, command: Command) -> None:
    web = ObjectRef("deployments", "shop", "web", "apps", "v1")
    plane.call(object_ref=web, verb="patch")
    plane.call(object_ref=web, user=User("bob"), verb="delete", code=403)
    out = command("audit", "who", "deploy/web", "-n", "shop", "--cluster", "prod").out
    assert [line.split()[0] for line in out.splitlines()] == ["USER", "bob", "alice"]
    assert "delete 1" in out
    assert command("audit", "who", "deploy").code == 2
    assert "Nobody touched" in command("audit", "who", "deploy/db").err


def test_stats_count(plane: Plane, command: Command) -> None:
    for user in ("alice", "alice", "bob"):
        plane.call(user=User(user), code=404 if user == "bob" else 200)
    done = command("audit", "stats", "--by", "user")
    assert [line.split() for line in done.out.splitlines()] == [
        ["USER", "CALLS", "FAILED", "SHARE"],
        ["alice", "2", "0", "67%"],
        ["bob", "1", "1", "33%"],
    ]
    for by in ("cluster", "verb", "class", "resource", "namespace", "status", "tool", "source"):
        assert command("audit", "stats", "--by", by).code == 0

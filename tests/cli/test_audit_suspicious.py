"""`kubewitness audit suspicious`: what was out of the ordinary, as a table and for scripts."""

import json

from proxy.audit.event import User
from proxy.audit.flags import SUSPICIOUS
from tests.cli.conftest import Command
from tests.control.plane import Plane


def test_the_table(plane: Plane, command: Command) -> None:
    plane.call()
    plane.call(annotations={SUSPICIOUS: "new-address,new-network"}, source_ips=("192.0.2.9",))
    done = command("audit", "suspicious")
    head, line = done.out.splitlines()
    assert head.split()[:4] == ["TIME", "USER", "ADDRESS", "FLAGS"]
    assert all(word in line for word in ("alice", "192.0.2.9", "new-address, new-network"))


def test_nothing(plane: Plane, command: Command) -> None:
    plane.call()
    done = command("audit", "suspicious")
    assert (done.code, done.out) == (0, "")
    assert "Nothing was out of the ordinary" in done.err


def test_filters_and_forms(plane: Plane, command: Command) -> None:
    one = plane.call(annotations={SUSPICIOUS: "new-address"}, credential="a1")
    other = plane.call(annotations={SUSPICIOUS: "off-hours"}, user=User("bob"))
    for options, ids in (
        (("--user", "bob"), [other]),
        (("--flag", "new-address"), [one]),
        (("--flag", "new-address", "--flag", "off-hours"), [other, one]),
        (("--credential", "a1"), [one]),
        (("--since", "1h"), [other, one]),
        (("--until", "1h"), []),
        (("--limit", "1"), [other]),
    ):
        done = command("audit", "suspicious", *options, "-o", "name")
        assert done.out.split() == ids, options
    assert "There are more; --limit 10" in command("audit", "suspicious", "-l", "1").err
    found = json.loads(command("audit", "suspicious", "-o", "json").out)
    assert [item["flags"] for item in found] == [["off-hours"], ["new-address"]]
    assert command("audit", "suspicious", "--flag", "odd").code == 2

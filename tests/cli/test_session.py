"""Sessions by command."""

import json

from proxy.audit.event import ObjectRef
from tests.cli.conftest import Command
from tests.control.plane import Plane


def into(plane: Plane, pod: str, kind: str = "exec", code: int | None = 101) -> str:
    reference = ObjectRef("pods", "shop", pod, "", "v1", subresource=kind)
    return plane.call(code, verb="create", call_class="stream", object_ref=reference)


def test_list(plane: Plane, command: Command) -> None:
    assert "No sessions" in command("session", "list").err
    plane.call()
    first = into(plane, "web-0")
    second = into(plane, "web-1", "portforward", None)
    done = command("session", "list", "-o", "name")
    assert done.out.split() == [second, first], done.err
    assert command("session", "list", "--open", "-o", "name").out.split() == [second]
    assert command("session", "list", "--pod", "web-0", "-o", "name").out.split() == [first]
    assert command("session", "list", "--user", "bob", "-o", "name").out == ""
    table = command("session", "list").out.splitlines()
    assert table[0].split()[:3] == ["STARTED", "USER", "KIND"]
    assert "port-forward" in table[1]
    assert "open" in table[1]
    more = command("session", "list", "--limit", "1", "-o", "json")
    assert ([item["id"] for item in json.loads(more.out)], "There are more" in more.err) == ([second], True)  # fmt: skip

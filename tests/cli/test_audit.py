"""The audit commands, on calls recorded by a real journal and found by a real index."""

import csv
import io
import json

import pytest
import yaml

from proxy.audit.event import User
from tests.cli.conftest import Command
from tests.control.plane import Plane

HOSTILE = User("eve\x1b]52;c;AAAA\x07\u202egnp")


def test_search_finds_a_call_right_after_it_ended(plane: Plane, command: Command) -> None:
    plane.call()
    done = command("audit", "search", "--user", "alice")
    assert done.code == 0, done.err
    header, line = done.out.splitlines()
    assert header.split() == [
        "TIME",
        "USER",
        "CLUSTER",
        "VERB",
        "OBJECT",
        "NAMESPACE",
        "STATUS",
        "DURATION",
        "TOOL",
    ]
    assert line.split()[1:] == [
        "alice",
        "prod",
        "get",
        "pods/web-0",
        "shop",
        "200",
        "1.5",
        "ms",
        "kubectl",
        "get",
    ]


def test_forms_of_output(plane: Plane, command: Command) -> None:
    audit_id = plane.call()
    assert json.loads(command("audit", "search", "-o", "json").out)[0]["auditID"] == audit_id
    assert yaml.safe_load(command("audit", "search", "-o", "yaml").out)[0]["auditID"] == audit_id
    assert command("audit", "search", "-o", "name").out == f"{audit_id}\n"
    rows = list(csv.DictReader(io.StringIO(command("audit", "search", "-o", "csv").out)))
    assert rows[0]["object"] == "pods/web-0"


def test_looks_are_events_of_their_own_kind(plane: Plane, command: Command) -> None:
    del plane
    command("audit", "search", "--user", "alice")
    out = command("audit", "search", "--kind", "system").out
    assert [line.split()[1:4] for line in out.splitlines() if "audit.search" in line][-1] == [
        "admin", "audit.search", "requested",
    ]  # fmt: skip
    assert command("audit", "search", "--kind", "secret").code == 2


def test_limits_and_what_is_left(plane: Plane, command: Command) -> None:
    for _ in range(5):
        plane.call()
    done = command("audit", "search", "--limit", "3", "-o", "name")
    assert done.out.count("\n") == 3
    assert "There are more" in done.err
    assert command("audit", "tail", "-l", "2", "-o", "name").out.splitlines() == list(
        reversed(done.out.splitlines()[:2])
    )


@pytest.mark.parametrize("form", ["table", "json", "yaml", "csv"])
def test_hostile_text_never_reaches_the_terminal(plane: Plane, command: Command, form: str) -> None:
    plane.call(user=HOSTILE, user_agent="\x1b[2J", kubectl_command="\x1b[31mkubectl")
    out = command("audit", "search", "-o", form).out
    assert "eve" in out
    assert not any(char in out for char in ("\x1b", "\x07", "\u202e"))


def test_show_is_a_page_about_one_call(plane: Plane, command: Command) -> None:
    audit_id = plane.call(
        user=HOSTILE,
        impersonated_user=User("carol", groups=("ops",)),
        user_agent="kubectl/v1.37.2\x1b[2J",
        annotations={"authorization.k8s.io/decision": "allow"},
    )
    done = command("audit", "show", audit_id)
    assert done.code == 0, done.err
    for said in (audit_id, "as carol", "pods/web-0", "10.0.0.1", "RequestReceived", "ResponseComplete",
                 "kubectl/v1.37.2\\x1b[2J", "200", "1.5 ms", "2.0 KiB", "allow"):  # fmt: skip
        assert said in done.out, said
    assert "\x1b" not in done.out
    assert len(json.loads(command("audit", "show", audit_id, "-o", "json").out)) == 2
    assert command("audit", "show", "nothing").code == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "--since", "soon"], "--since"),
        (["search", "--status", "many"], "'many'"),
        (["search", "--source", "here"], "'here'"),
        (["tail", "-f", "-o", "csv"], "-f does not go with"),
    ],
)
def test_bad_options_say_which(
    plane: Plane, command: Command, arguments: list[str], said: str
) -> None:
    del plane
    done = command("audit", *arguments)
    assert done.code == 2
    assert said in done.err

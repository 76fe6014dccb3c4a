"""The authority by command."""

import json

from tests.cli.conftest import Command


def test_show_and_rotate(command: Command) -> None:
    before = command("authority", "show", "-o", "json")
    assert before.code == 0, before.err
    (old,) = json.loads(before.out)
    done = command("authority", "rotate", "--yes")
    assert done.code == 0, done.err
    new, former = (line.split()[0] for line in done.out.splitlines()[1:3])
    assert former == old["fingerprint"] != new
    assert " yes " in done.out.splitlines()[1]
    assert " yes " not in done.out.splitlines()[2]


def test_rotation_asks_first(command: Command) -> None:
    done = command("authority", "rotate")
    assert done.code != 0
    assert len(json.loads(command("authority", "show", "-o", "json").out)) == 1

"""Legal holds by command: placed with a reason, released by somebody else."""

import json
from pathlib import Path

from proxy.cli.client import Client
from tests.cli.conftest import Command
from tests.control.plane import Plane


def test_place_list_release(plane: Plane, command: Command, tmp_path: Path) -> None:
    assert "No legal holds" in command("audit", "hold", "list").err
    done = command("audit", "hold", "place", "--since", "2026-01-01T00:00Z", "--reason", "case 7", "-o", "json")  # fmt: skip
    hold = json.loads(done.out)[0]
    assert (hold["since"], hold["placedBy"]) == ("2026-01-01T00:00:00.000000Z", "admin")
    own = command("audit", "hold", "release", hold["id"], "--reason", "closed")
    assert (own.code, "somebody else" in own.err) == (3, True)
    Client(plane.granted("bob", "admin")).post(
        f"/legal-holds/{hold['id']}/release", {"reason": "closed"}
    )
    assert "bob" in command("audit", "hold", "list").out
    assert command("audit", "hold", "release", "none", "--reason", "x").code == 4


def test_a_reason_is_needed(command: Command) -> None:
    assert command("audit", "hold", "place").code == 2
    done = command("audit", "hold", "place", "--reason", " ")
    assert (done.code, "Say why" in done.err) == (2, True)

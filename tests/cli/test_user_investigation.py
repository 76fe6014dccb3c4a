"""The page of an investigation, from an answer in the form the API gives."""

import json
from typing import Any

import yaml

from proxy.cli.user_investigation import page
from tests.cli.conftest import Command
from tests.control.plane import Plane

CALL = {
    "auditId": "01", "at": "2026-11-23T21:16:36.873401Z", "address": "203.0.113.9",
    "credential": "6fbb", "cluster": "prod", "verb": "get", "resource": "secrets",
    "namespace": "shop", "name": "db", "status": 403, "flags": ["new-network"],
}  # fmt: skip
FOUND: dict[str, Any] = {
    "user": "alice", "status": "active", "kind": "person", "groups": ["dev"],
    "since": "2026-11-16T00:00:00Z", "calls": 41, "failed": 2, "lookedAt": 41, "complete": True,
    "credentials": [{
        "serial": "6fbb0b06074e93aa35e7549c64ecb5df", "usage": "kubectl", "clusters": ["*"],
        "status": "valid", "notAfter": "2026-12-01T00:00:00Z",
    }],
    "tokens": [{
        "id": "5f0c", "permissions": ["audit.look"], "status": "active",
        "notAfter": "2027-01-01T00:00:00Z",
    }],
    "grants": [{
        "id": "01a2", "subject": "group dev", "role": "namespace-admin",
        "scope": "namespace/prod/shop", "status": "active",
    }],
    "addresses": [{
        "address": "203.0.113.9", "network": "203.0.113.0/24", "firstSeen": CALL["at"],
        "lastSeen": CALL["at"], "calls": 3, "credentials": ["6fbb0b06074e93aa35e7549c64ecb5df"],
    }],
    "flagged": [CALL], "denied": [CALL],
    "sessions": [{**CALL, "resource": "pods/exec", "name": "web-0", "status": None, "flags": []}],
    "commands": [{
        "command": "", "session": "", "tool": "curl", "address": "203.0.113.9", "clusters": ["prod"],
        "firstSeen": CALL["at"], "lastSeen": CALL["at"], "calls": 3, "failed": 2,
    }],
    "objects": [{
        "cluster": "prod", "resource": "secrets", "namespace": "shop", "name": "db",
        "verbs": {"get": 2, "delete": 1}, "failed": 2, "lastSeen": CALL["at"],
    }],
    "revoke": ["kubewitness user remove alice --yes --reason 'compromised'"],
}  # fmt: skip


def test_everything_is_on_it_and_the_last_line_ends_it_all() -> None:
    lines = page(FOUND, None).splitlines()
    text = "\n".join(lines)
    titles = ["Flagged", "Addresses", "Kubeconfigs", "API tokens", "Grants", "Sessions", "Refused", "Commands", "Objects"]  # fmt: skip
    places = [lines.index(title) for title in titles]
    assert places == sorted(places)
    assert "41 calls, 2 of them failed" in text
    assert "new-network" in lines[lines.index("Flagged") + 2]
    assert "6fbb0b06074e" in lines[lines.index("Addresses") + 2]
    assert "open" in lines[lines.index("Sessions") + 2]
    assert lines[lines.index("Commands") + 2].startswith("curl")
    assert "get 2, delete 1" in text
    assert lines[-1] == "  kubewitness user remove alice --yes --reason 'compromised'"


def test_what_there_is_none_of_is_left_out() -> None:
    nothing: dict[str, list[object]] = {
        name: [] for name, value in FOUND.items() if isinstance(value, list)
    }
    text = page({**FOUND, **nothing, "groups": []}, 80)
    assert [line for line in text.splitlines() if line in ("Grants", "Objects", "Flagged")] == []
    assert "To end every access" not in text


def test_it_fits_a_terminal_and_hides_what_is_hostile() -> None:
    text = page({**FOUND, "user": "a\x1b[2J", "denied": [{**CALL, "name": "\u202e" * 3}]}, 80)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_by_command(plane: Plane, command: Command) -> None:
    plane.credential("alice")
    plane.call()
    plane.call(403)
    done = command("user", "investigate", "alice")
    assert done.code == 0, done.err
    assert "alice" in done.out
    assert "Refused" in done.out
    assert "kubewitness kubeconfig revoke --user alice --yes" in done.out
    found = json.loads(command("user", "investigate", "alice", "-o", "json", "--since", "1h").out)
    assert (found["calls"], found["failed"]) == (2, 1)
    assert yaml.safe_load(command("user", "investigate", "alice", "-o", "yaml").out)["calls"] == 2
    assert command("user", "investigate", "alice", "-o", "csv").code == 2
    assert len(plane.events("user.investigate")) >= 3
    assert "Nobody of that name" not in done.err
    assert "Nobody of that name" in command("user", "investigate", "alcie").err

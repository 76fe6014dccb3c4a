"""Exported documents: what they hold, and what is left out."""

import yaml

from proxy.cli.exporting import exported
from tests.cli.conftest import Command
from tests.control.plane import Plane


def test_documents(prod: Plane, command: Command) -> None:
    command("group", "add", "dev")
    command("user", "add", "rob", "-g", "dev")
    command("user", "add", "gone")
    command("user", "remove", "gone", "--yes")
    command("project", "add", "shop", "-c", "prod", "-c", "test:web")
    command("grant", "add", "--group", "dev", "--role", "project-admin", "--project", "shop")
    ended = command("grant", "add", "--user", "rob", "--role", "namespace-admin", "-c", "prod", "-n", "web", "-o", "name")  # fmt: skip
    command("grant", "revoke", ended.out.strip(), "--yes")
    documents = list(yaml.safe_load_all(exported(prod.client())))
    assert [(item["kind"], item.get("metadata", {}).get("name"), item["spec"]) for item in documents] == [
        ("Group", "dev", {}),
        ("User", "rob", {"kind": "person", "groups": ["dev"]}),
        ("Project", "shop", {"places": [{"cluster": "prod"}, {"cluster": "test", "namespaces": ["web"]}]}),
        ("Grant", None, {"group": "dev", "role": "project-admin", "project": "shop"}),
    ]  # fmt: skip

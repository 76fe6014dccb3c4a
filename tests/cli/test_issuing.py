"""Kubeconfigs as files: merged into what is there, checked before anything is issued."""

from pathlib import Path

import pytest
import yaml

from proxy.cli import issuing
from proxy.errors import InvalidInputError, UnavailableError
from tests.cli.conftest import Command, issue
from tests.control.plane import ADVERTISED, Plane

REQUEST = {"user": "alice", "groups": ["dev"], "clusters": ["prod"], "ttl": "1h"}


@pytest.mark.parametrize(
    ("content", "said"),
    [("[]", "not a kubeconfig"), ("{{", "not YAML"), (None, "is a directory")],
)
def test_what_cannot_be_merged_into_is_refused_first(
    tmp_path: Path, content: str | None, said: str
) -> None:
    file = tmp_path / "config"
    if content is None:
        file.mkdir()
    else:
        file.write_text(content)
    with pytest.raises(InvalidInputError, match=said):
        issuing.check(file)


def test_other_entries_of_the_file_stay(prod: Plane, command: Command, tmp_path: Path) -> None:
    del prod
    file = tmp_path / "config"
    mine = {
        "apiVersion": "v1", "kind": "Config", "current-context": "mine",
        "clusters": [{"name": "mine", "cluster": {"server": "https://mine"}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [{"name": "mine", "context": {"cluster": "mine", "user": "me"}}],
    }  # fmt: skip
    file.write_text(yaml.safe_dump(mine))
    issue(command, file)
    document = yaml.safe_load(file.read_text())
    assert document["current-context"] == "mine"
    assert [item["name"] for item in document["contexts"]] == ["mine", "prod"]
    assert [item["name"] for item in document["clusters"]] == ["mine", f"prod@{ADVERTISED}"]


def test_a_key_is_new_each_time_and_only_here(prod: Plane) -> None:
    client = prod.client()
    (_, first), (_, second) = (
        issuing.obtain(client, "/credentials", {**REQUEST, "usage": "kubectl"}) for _ in range(2)
    )
    assert first != second
    assert b"PRIVATE KEY" in first


def test_what_was_issued_and_not_written_can_be_revoked(prod: Plane, tmp_path: Path) -> None:
    directory = tmp_path / "gone"
    with pytest.raises(UnavailableError, match="could not be written") as raised:
        issuing.write_plain(prod.client(), REQUEST, directory / "config")
    serial = prod.client().get("/credentials", {"user": "alice"})["items"][0]["serial"]
    assert f"kubeconfig revoke {serial}" in raised.value.hint

"""Documents of apply: what is read, and errors that name file, document and field."""

import io
from pathlib import Path

import pytest

from proxy.cli.documents import Document, located, read
from proxy.errors import ConflictError, InvalidInputError

USER = "apiVersion: kubewitness.io/v1\nkind: User\nmetadata: {name: rob}\nspec: {groups: [dev]}\n"
GRANT = (
    "apiVersion: kubewitness.io/v1\nkind: Grant\n"
    "spec: {user: rob, role: cluster-admin, cluster: prod, expiresAt: 2030-01-01}\n"
)


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_documents_of_a_file(tmp_path: Path) -> None:
    file = written(tmp_path / "people.yaml", f"---\n{USER}---\n# nothing\n---\n{GRANT}")
    user, grant = read([file])
    assert user == Document(file, 1, "User", "rob", {"groups": ["dev"]})
    assert (grant.number, grant.kind, grant.name) == (3, "Grant", "")
    assert grant.spec["expiresAt"] == "2030-01-01"
    assert user.to_api() == {
        "apiVersion": "kubewitness.io/v1",
        "kind": "User",
        "metadata": {"name": "rob"},
        "spec": {"groups": ["dev"]},
    }
    assert "metadata" not in grant.to_api()


def test_directories_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "b.yaml", GRANT)
    written(tmp_path / "a.yml", USER)
    written(tmp_path / "notes.txt", "no YAML: [")
    assert [item.kind for item in read([str(tmp_path)])] == ["User", "Grant"]
    monkeypatch.setattr("sys.stdin", io.StringIO(USER))
    assert read(["-"])[0].place == "standard input, document 1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "line 1 is not YAML"),
        ("a: 1\na: 2", "line 2 is not YAML: 'a' is given twice"),
        ("[]", "document 1: it must be a mapping"),
        (USER.replace("/v1", "/v2"), "document 1: apiVersion is 'kubewitness.io/v2'. Write kubewitness.io/v1"),
        (USER.replace("User", "Usr"), "document 1: kind is 'Usr'. It is one of User, Group"),
        (USER + "---\n" + USER.replace("spec", "specs"), "document 2: specs is unknown"),
        (USER.replace("name", "nam"), "document 1: metadata.nam is unknown"),
        (USER.replace("{name: rob}", "{}"), "document 1: metadata.name is missing"),
        (USER.replace("rob", "7"), "document 1: metadata.name is not text"),
        (USER.replace("{groups: [dev]}", "dev"), "document 1: spec must be a mapping"),
        (GRANT + "metadata: {name: x}", "document 1: a Grant has no metadata.name"),
        (USER + "---\n" + USER, "document 2: User 'rob' is there already. See"),
    ],
)  # fmt: skip
def test_errors_name_the_place(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path / "x.yaml", text)
    with pytest.raises(InvalidInputError) as raised:
        read([file])
    assert said in str(raised.value)
    assert file in str(raised.value)


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), (b"\xff", "not UTF-8")])
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "x.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidInputError, match=said):
        read([str(file)])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InvalidInputError, match="has no"):
        read([str(empty)])


def test_the_server_speaks_of_objects_and_people_of_files() -> None:
    documents = [Document("a.yaml", 1, "User", "ann", {}), Document("b.yaml", 4, "Grant", "", {})]
    error = ConflictError("objects[1].spec.role: there is no role 'x'.", hint="See role list.")
    found = located(error, documents)
    assert isinstance(found, ConflictError)
    assert str(found) == "b.yaml, document 4: spec.role: there is no role 'x'. See role list."
    told = {
        "objects[0]: There is no group dev.": "a.yaml, document 1: There is no group dev.",
        "Body of POST /api/v1/apply: Expected `str`, got `int` - at `$.objects[0].spec.kind`.": "a.yaml, document 1: spec.kind: Expected `str`, got `int`.",
        "objects[1]: User 'x' stands in objects[0] already.": "b.yaml, document 4: User 'x' stands in a.yaml, document 1 already.",
        "objects[9]: ?": "objects[9]: ?",
    }  # fmt: skip
    for said, meant in told.items():
        assert located(ConflictError(said), documents).message == meant

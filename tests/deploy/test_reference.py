"""docs/reference is what the code says."""

import ast
from pathlib import Path

import pytest

from tests.deploy.reference import OWN_ACTIONS, documents
from tests.write_tables import modules

PAGES = documents()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_is_what_the_code_says(path: Path) -> None:
    assert path.read_text() == PAGES[path], "run `make docs`"


def test_no_page_is_left_from_before() -> None:
    (directory,) = {path.parent for path in PAGES}
    assert set(directory.glob("*.md")) == set(PAGES)


def own_actions() -> set[str]:
    """What is given as `action=` in the code, other than by routes, whose own table has it."""
    found = set()
    for path in modules():
        tree = ast.parse(path.read_text())
        named = {
            ast.unparse(node.target): node.value
            for node in tree.body
            if isinstance(node, ast.AnnAssign)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            given = [item.value for item in node.keywords if item.arg == "action"]
            if ast.unparse(node.func).endswith(".act"):
                given = node.args[:1]
            elif ast.unparse(node.func) != "SystemEvent":
                continue
            values = (named.get(ast.unparse(value), value) for value in given)
            found |= {str(value.value) for value in values if isinstance(value, ast.Constant)}
    return found


def test_every_action_of_the_proxy_itself_is_described() -> None:
    # The name of this one stands in another module, and that of `_system` calls in their argument.
    assert own_actions() - set(OWN_ACTIONS) == set()
    assert len(own_actions()) >= 6


def test_every_parameter_of_the_api_has_a_meaning() -> None:
    [page] = [text for path, text in PAGES.items() if path.stem == "api"]
    blank = [line for line in page.splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert not blank
    assert page.count("\n| `") > 200

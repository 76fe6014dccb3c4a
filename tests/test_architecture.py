"""The rules of the house, as tests: layers, sizes, the map, and a test file for each module."""

import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.write_tables import MAP, ROOT, excused, first_sentence, map_text, modules, untested

MOST_LINES = 400
"""Of a module; beyond, it does two things."""
MODULES = modules()
IDS = [path.relative_to(ROOT).as_posix() for path in MODULES]


def test_imports_go_one_way() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_the_map_is_the_tree() -> None:
    assert MAP.read_text() == map_text(), "run `make docs`"


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_each_module_says_what_it_is_and_stays_readable(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= MOST_LINES
    if lines:
        assert first_sentence(path).endswith((".", ":")), "a docstring that begins with a sentence"


def test_each_module_has_its_tests() -> None:
    assert untested() - set(excused()) == set(), "write tests/<package>/test_<module>.py"
    assert set(excused()) - untested() == set(), "has its tests now, or is gone: run `make docs`"


def test_dependencies_say_why_they_are_there() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    section = text.split("\ndependencies = [\n")[1].split("\n]")[0].splitlines()
    for before, line in itertools.pairwise(section):
        if line.strip().startswith('"'):
            assert before.strip().startswith("#"), f"{line.strip()} needs a comment above it"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned_by_hash_and_name_no_registry(name: str) -> None:
    text = (ROOT / name).read_text()
    pins = [line for line in text.splitlines() if "==" in line]
    assert pins
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text
    assert "index-url" not in text


def test_no_group_is_repeated_possessively() -> None:
    # Before 3.11.5 Python matches too much there (gh-106052): `..` passed for an ordinary segment.
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted((ROOT / "proxy").rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"\)[*+?]\+", line) and not line.lstrip().startswith("#")
    ]
    assert found == []

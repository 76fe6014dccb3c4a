"""The documentation: links lead somewhere, and the commands it shows exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.cli.app import run
from tests.deploy.prometheus import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))
WRITTEN = [path for path in PAGES if path.parent == DOCS]
_BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(kubewitness [^`]+)`")
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchor(title: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    return {anchor(title) for title in re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in _LINK.findall(path.read_text()):
        if link.startswith("https://"):
            continue
        file, _, fragment = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


def commands() -> Iterator[str]:
    """Every `kubewitness …` shown, in blocks and in sentences, without what surrounds it."""
    for path in WRITTEN:
        text = path.read_text()
        lines = [line for block in _BLOCK.findall(text) for line in block.splitlines()]
        for line in [*lines, *(found.replace("\n", " ") for found in _INLINE.findall(text))]:
            for part in re.split(r"&&|\|\||[|;>]", line.split(" #")[0]):
                # The last one that is no namespace: before it, it is the name of a user or a container.
                found = re.match(
                    r"(?!helm).*(?:^|(?<!-n)(?<!--namespace)[ /])kubewitness ((?!kubewitness)[a-z][a-z-]*(?: .*)?)$",
                    part.strip(),
                )
                if found is not None:
                    yield f"kubewitness {found[1]}"


SHOWN = sorted(set(commands()))


@pytest.mark.parametrize("line", SHOWN)
def test_every_command_it_shows_exists(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    nouns = []
    for word in line.split()[1:]:
        if word.startswith("-") or not re.fullmatch(r"[a-z-]+", word):
            break
        nouns.append(word)
    # Deepest first: what follows a command is an argument.
    while nouns and run([*nouns, "--help"]) != 0:
        nouns.pop()
    said = capsys.readouterr().out
    assert nouns, line
    assert [flag for flag in re.findall(r" (--[a-z-]+)", line) if flag not in said] == []


def test_enough_is_looked_at() -> None:
    assert len(SHOWN) > 40
    assert {path.stem for path in WRITTEN} >= {
        *("install-kubernetes", "install-vm", "install-laptop", "connect-a-cluster", "day-two"),
    }


def test_every_make_target_it_shows_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    shown = {
        target
        for path in PAGES
        for target in re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", path.read_text(), re.MULTILINE)
    }
    assert shown
    assert [target for target in shown if f"\n{target}:" not in makefile] == []


def test_every_page_is_reached_from_the_first() -> None:
    listed = set(_LINK.findall((DOCS / "README.md").read_text()))
    assert [name(path) for path in PAGES if path.relative_to(DOCS).as_posix() not in listed] == [
        "docs/README.md"
    ]

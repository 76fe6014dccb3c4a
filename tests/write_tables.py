"""What is written down and made from the code: `make docs` writes it, tests hold it equal.

The tables of README.md (settings, metrics), the map in proxy/README.md, docs/reference and the completion scripts.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from proxy.cli import settings_table
from proxy.cli.settings_table import replace_between
from proxy.metrics import Metrics

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
MAP = ROOT / "proxy" / "README.md"
UNTESTED = ROOT / "tests" / "untested_modules.txt"
_MAP_HEAD = """# The map

One line a module, its own first sentence. `make docs` writes this file; a test keeps it equal to
the tree. Imports go one way, from the top of this picture to the bottom (`make arch`):

```
cli → runtime → gateway | control | sandbox → authn | authz
    → upstream | audit | state | pki → kube | wire → settings, errors, clock, logs, metrics, tasks …
```

Where to begin: [`gateway/pipeline.py`](gateway/pipeline.py) is the life of a call, top to bottom;
[`runtime/serve.py`](runtime/serve.py) starts everything; [`audit/journal/records.py`](audit/journal/records.py)
describes the record's format.
"""


def metrics_table() -> str:
    """Every metric: name as Prometheus stores it, kind, labels, meaning."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in metrics():
        labels = ", ".join(f"`{label}`" for label in metric[2]) or "none"
        lines.append(f"| `{metric[0]}` | {metric[1]} | {labels} | {metric[3]} |")
    return "\n".join(lines) + "\n"


def metrics() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """(name, kind, labels, meaning) of each metric of the product, in the order of the code."""
    table = Metrics()
    suffix = {"counter": "_total", "info": "_info"}
    for collector in vars(table).values():
        if not hasattr(collector, "describe"):
            continue
        for family in collector.describe():
            kind = family.type
            labels = ("version",) if kind == "info" else collector._labelnames
            yield family.name + suffix.get(kind, ""), kind, tuple(labels), family.documentation


def first_sentence(path: Path) -> str:
    """The first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.split("\n\n")[0].replace("\n", " ")


def modules() -> list[Path]:
    """Every module of the package but migrations, which only accumulate."""
    found = (ROOT / "proxy").rglob("*.py")
    return sorted(path for path in found if "versions" not in path.parts)


def map_text() -> str:
    """The whole of proxy/README.md."""
    lines = [_MAP_HEAD]
    packages = sorted({path.parent for path in modules()})
    for package in packages:
        name = package.relative_to(ROOT).as_posix()
        lines.append(f"## {name}/\n\n{first_sentence(package / '__init__.py')}\n")
        here = [path for path in modules() if path.parent == package and path.stem != "__init__"]
        lines += [f"* [`{path.name}`]({link(path)}): {first_sentence(path)}" for path in here]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def link(path: Path) -> str:
    """A path as the map refers to it."""
    return path.relative_to(MAP.parent).as_posix()


def readme_text() -> str:
    """README.md with its tables as they should be."""
    text = README.read_text()
    text = replace_between(text, "settings", settings_table.markdown())
    return replace_between(text, "metrics", metrics_table())


def untested() -> set[str]:
    """Modules, relative to the package, without a test file of their own name."""
    found = set()
    for path in modules():
        relative = path.relative_to(ROOT / "proxy")
        test = ROOT / "tests" / relative.parent / f"test_{path.name}"
        if path.name != "__init__.py" and not test.exists():
            found.add(relative.as_posix())
    return found


def excused() -> list[str]:
    """Those that may be without: a list that only shrinks."""
    lines = UNTESTED.read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def shrink() -> None:
    """Take from the list what has its tests now, or is gone. Nothing is ever added here."""
    head = [line for line in UNTESTED.read_text().splitlines() if line.startswith("#")]
    left = [line for line in excused() if line in untested()]
    UNTESTED.write_text("\n".join([*head, *left]) + "\n")


def pages() -> dict[Path, str]:
    """Files that are made from the code as a whole."""
    # They show these tables, too.
    from tests.deploy import completion, reference

    return reference.documents() | completion.scripts()


def main() -> None:
    """Write all of them."""
    shrink()
    README.write_text(readme_text())
    MAP.write_text(map_text())
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    sys.stdout.write(f"wrote docs/, {README.name} and {MAP.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()

"""What an installation of kubewitness is made of, as a CycloneDX 1.6 document on standard output.

Run with the Python that kubewitness is installed in. Lists kubewitness with everything it requires,
installed here, and with `--dpkg` also the packages of a Debian system. The same installation gives the
same bytes.
"""

import argparse
import json
import re
import sys
import uuid
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

ROOT = "kubewitness"


def canonical(name: str) -> str:
    """A distribution's name as package indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(found: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """(name, extras) of what a distribution may require here, with some of its own extras."""
    for line in found.requires or []:
        needed, _, marker = line.partition(";")
        extra = re.search(r"""extra == ['"]([^'"]+)""", marker)
        if extra is not None and canonical(extra[1]) not in extras:
            continue
        parts = re.match(r"\s*([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?", needed)
        if parts is not None:
            wanted = frozenset(canonical(item.strip()) for item in (parts[2] or "").split(","))
            yield canonical(parts[1]), wanted - {""}


def closure(root: str) -> dict[str, tuple[Distribution, list[str]]]:
    """By name: every installed distribution that `root` needs, and what each needs itself."""
    found: dict[str, tuple[Distribution, list[str]]] = {}
    looked: set[tuple[str, frozenset[str]]] = set()
    waiting: list[tuple[str, frozenset[str]]] = [(root, frozenset())]
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in looked:
            continue
        looked.add((name, extras))
        try:
            here = distribution(name)
        except PackageNotFoundError:
            if name == root:
                raise
            continue  # only needed on other systems
        needed = list(required(here, extras))
        before = found[name][1] if name in found else []
        found[name] = (here, sorted({*before, *(item for item, _ in needed)}))
        waiting += needed
    return found


def licence(found: Distribution) -> list[dict[str, Any]]:
    """What a distribution says of its licence, as CycloneDX wants it."""
    said = found.metadata.get("License-Expression")
    if said:
        return [{"expression": said}]
    short = (found.metadata.get("License") or "").strip()
    if short and "\n" not in short and len(short) < 80:
        return [{"license": {"name": short}}]
    classified = [
        line.rsplit("::", 1)[-1].strip()
        for line in found.metadata.get_all("Classifier") or []
        if line.startswith("License ::")
    ]
    return [{"license": {"name": name}} for name in classified]


def component(found: Distribution, kind: str = "library") -> dict[str, Any]:
    """One Python distribution."""
    name, version = canonical(found.metadata["Name"]), found.version
    reference = f"pkg:pypi/{name}@{version}"
    return {
        "type": kind,
        "bom-ref": reference,
        "name": name,
        "version": version,
        "purl": reference,
        "licenses": licence(found),
    }


def debian(status: Path) -> Iterator[dict[str, Any]]:
    """The installed packages of a Debian system, from dpkg's status file."""
    for block in status.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([A-Z][A-Za-z-]*): (.*)$", block, re.MULTILINE))
        if fields.get("Status") != "install ok installed":
            continue
        name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
        reference = f"pkg:deb/debian/{name}@{version.replace('+', '%2B')}?arch={machine}"
        yield {
            "type": "library",
            "bom-ref": reference,
            "name": name,
            "version": version,
            "purl": reference,
        }


def document(dpkg: Path | None) -> dict[str, Any]:
    """The whole of it."""
    parts = closure(ROOT)
    root = component(parts[ROOT][0], "application")
    libraries = [component(parts[name][0]) for name in sorted(parts) if name != ROOT]
    references = {part["name"]: part["bom-ref"] for part in [root, *libraries]}
    dependencies = [
        {
            "ref": references[name],
            "dependsOn": [references[item] for item in needed if item in references],
        }
        for name, (_, needed) in sorted(parts.items())
    ]
    found: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": [*libraries, *(debian(dpkg) if dpkg is not None else ())],
        "dependencies": dependencies,
    }
    name = json.dumps(found, sort_keys=True)
    return {"serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}", **found}


def main() -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--dpkg", type=Path, help="status file of dpkg, for an image of Debian")
    given = parser.parse_args()
    dpkg = given.dpkg if given.dpkg is None or given.dpkg.exists() else None
    json.dump(document(dpkg), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()

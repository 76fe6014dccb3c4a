"""Helm as the tests run it: the pinned build, nothing of the user's own configuration, and what it renders."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import build

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "charts" / "kubewitness"
RELEASE, NAMESPACE = "kubewitness", "kubewitness"

Manifest = dict[str, Any]


@cache
def program() -> Path:
    """Helm, built from the committed module when it is missing."""
    return build.ensure_binary("helm")


@dataclass(frozen=True)
class Done:
    """What a run of helm left."""

    code: int
    stdout: str
    stderr: str


def helm(*arguments: str) -> Done:
    """Run helm to its end, without a cluster."""
    with tempfile.TemporaryDirectory() as home:
        places = {f"HELM_{name}_HOME": home for name in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(
            [str(program()), *arguments],
            env={"PATH": os.environ["PATH"], "HOME": home, "KUBECONFIG": os.devnull, **places},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    return Done(done.returncode, done.stdout, done.stderr)


def with_values(command: str, values: Mapping[str, Any], *more: str) -> Done:
    """`helm COMMAND` of our chart with `values`; run once for the same question."""
    return _asked(command, json.dumps(values), more)


@cache
def _asked(command: str, values: str, more: tuple[str, ...]) -> Done:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(values)
        file.flush()
        name = [RELEASE] if command in {"template", "install"} else []
        given = [f"--namespace={NAMESPACE}", f"--values={file.name}", *more]
        return helm(command, *name, str(CHART), *given)


def rendered(values: Mapping[str, Any], *more: str) -> list[Manifest]:
    """Every object the chart renders with `values`, hooks and tests among them."""
    done = with_values("template", values, *more)
    assert done.code == 0, done.stderr
    found = yaml.load_all(done.stdout, Loader=yaml.CSafeLoader)
    return [item for item in found if item is not None]


def notes(values: Mapping[str, Any]) -> str:
    """NOTES.txt with `values`."""
    done = with_values("install", values, "--dry-run=client")
    assert done.code == 0, done.stderr
    return done.stdout.partition("NOTES:\n")[2]


def of_kind(manifests: Iterable[Manifest], kind: str) -> list[Manifest]:
    """Those of one kind."""
    return [item for item in manifests if item["kind"] == kind]


def pod_specs(manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    """The pod of each object that makes one, by `Kind/name`."""
    found: dict[str, Manifest] = {}
    for item in manifests:
        name = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] == "Pod":
            found[name] = item["spec"]
        elif "template" in item.get("spec", {}):
            found[name] = item["spec"]["template"]["spec"]
    return found


def containers(spec: Manifest) -> list[Manifest]:
    """Every container of a pod, those that come first included."""
    return [*spec.get("initContainers", []), *spec["containers"]]

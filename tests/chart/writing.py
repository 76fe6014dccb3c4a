"""What is made of the chart's schema and of the chart: `make docs` writes it, tests hold it equal.

`values.schema.json` is the one place that describes the values. Its `settings` come from the settings of the proxy;
`values.yaml` and the tables of the chart's README come from the schema; `deploy/manifests` is what helm renders. What the
groups of grants may do comes from the proxy (`tests.chart.rights`).
"""

import copy
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from proxy.cli import settings_table
from proxy.cli.settings_table import Row, replace_between
from tests.chart import rights
from tests.chart.helm import CHART, NAMESPACE, ROOT, Manifest, rendered

SCHEMA = CHART / "values.schema.json"
VALUES = CHART / "values.yaml"
README = CHART / "README.md"
MANIFESTS = ROOT / "deploy" / "manifests"

# Settings that follow from other values of the chart.
DECIDED = frozenset(
    {
        *("data_dir", "listen", "control", "metrics", "advertise", "drain_timeout"),
        *("database", "database_file", "in_cluster", "state_key_file", "tls.names"),
        *("tls.cert_file", "tls.key_file", "tls.ca_cert_file", "tls.ca_key_file"),
    }
)
_TYPES = {"text": "string", "path": "string", "number": "number", "whole number": "integer"}
_WIDTH = 110

# The plain manifests: a file and the values it is rendered with.
_GROUPS = {"groups": ["dev", "ops"]}
VARIANTS: dict[str, Manifest] = {
    "sqlite.yaml": {"impersonation": _GROUPS},
    "postgresql.yaml": {
        "replicas": 2,
        "impersonation": _GROUPS,
        "service": {"type": "LoadBalancer"},
        "database": {
            "existingSecret": "kubewitness-database",
            "migration": {"existingSecret": "kubewitness-admin-database"},
        },
    },
}
_HEAD = """\
# {about}
# Put the groups that your people have in the place of dev and ops.
# Rendered from charts/kubewitness by `make docs`, which is where other changes belong.
#
{steps}
"""
# Helm takes away by itself what only the jobs needed.
_TIDY = (
    "kubectl -n kubewitness delete serviceaccount,role,rolebinding,networkpolicy"
    " -l app.kubernetes.io/component=setup    # when the jobs are done"
)
_ABOUT = {
    "sqlite.yaml": (
        "kubewitness as one replica with embedded databases.",
        ["kubectl apply -f deploy/manifests/sqlite.yaml", _TIDY],
    ),
    "postgresql.yaml": (
        "kubewitness as two replicas that share a PostgreSQL, which is yours.",
        [
            "kubectl create namespace kubewitness --save-config",
            "kubectl -n kubewitness create secret generic kubewitness-database --from-file=dsn=FILE",
            "kubectl -n kubewitness create secret generic kubewitness-admin-database --from-file=admin-dsn=FILE",
            "kubectl apply -f deploy/manifests/postgresql.yaml",
            _TIDY,
        ],
    ),
}


def shipped() -> dict[Path, Path]:
    """Files of deploy/ by the place where the chart holds the same bytes: Helm packs nothing from outside."""
    rules = [
        path
        for path in sorted((ROOT / "deploy" / "prometheus").glob("rules*.yaml"))
        if not path.name.endswith(".test.yaml")
    ]
    dashboards = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
    places = {CHART / "files" / "prometheus" / path.name: path for path in rules}
    return places | {CHART / "files" / "grafana" / path.name: path for path in dashboards}


def schema_document(present: Manifest) -> Manifest:
    """The schema with the settings as the proxy has them."""
    document = copy.deepcopy(present)
    groups: Manifest = {}
    for row in settings_table.rows():
        if row.name in DECIDED:
            continue
        level = groups
        for group in row.path[:-1]:
            level = level.setdefault(
                group,
                {
                    "description": f"Settings `{group}.…`.",
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {},
                },
            )["properties"]
        level[row.path[-1]] = _setting(row)
    document["properties"]["settings"]["properties"] = groups
    return document


def _setting(row: Row) -> Manifest:
    default = settings_table.as_yaml(row.default).strip("'")
    known = f" The proxy's default: {default}." if default and default != "[]" else ""
    described = {"description": f"{row.description}{known}"}
    if row.is_list:
        return {**described, "type": "array", "items": {"type": "string"}}
    if "|" in row.kind:
        return {**described, "type": "string", "enum": row.kind.split("|")}
    return {**described, "type": _TYPES[row.kind]}


def schema_text() -> str:
    """values.schema.json."""
    document = schema_document(json.loads(SCHEMA.read_text()))
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def values_text() -> str:
    """values.yaml: every value with its default, and what it is."""
    head = "# Values of the chart with their defaults. Written from values.schema.json by `make docs`.\n"
    return head + "".join(_entries(json.loads(schema_text())["properties"], 0))


def _entries(properties: Manifest, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, value in properties.items():
        if name == "global":
            continue
        yield "\n" if depth == 0 else ""
        width = _WIDTH - len(indent)
        lines = textwrap.wrap(value["description"], width - 2, break_on_hyphens=False)
        yield "".join(f"{indent}# {line}\n" for line in lines)
        if "default" in value:
            text = yaml.safe_dump({name: value["default"]}, sort_keys=False, width=1000)
            yield textwrap.indent(text, indent)
        else:
            yield f"{indent}{name}:\n"
            yield from _entries(value["properties"], depth + 1)


def defaults() -> Manifest:
    """What values.yaml says."""
    return dict(yaml.safe_load(values_text()))


def leaves(properties: Manifest, above: str = "") -> Iterator[tuple[str, Manifest]]:
    """(dotted name, schema) of every value that can be set, groups left out."""
    for name, value in properties.items():
        if "properties" in value:
            yield from leaves(value["properties"], f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def table(names: str) -> str:
    """The README's table of the values (`values`) or of the settings (`settings`)."""
    properties = json.loads(schema_text())["properties"]
    lines = ["| value | default | what it is |", "|---|---|---|"]
    for name, value in leaves(properties):
        if name.startswith("settings.") == (names == "settings") and name != "global":
            shown = json.dumps(value["default"], ensure_ascii=False) if "default" in value else ""
            described = value["description"].replace("|", "\\|")
            cell = "" if shown == "" else f"`{shown}`"
            lines.append(f"| `{name}` | {cell} | {described} |")
    return "\n".join(lines) + "\n"


def readme_text() -> str:
    """README.md of the chart with its tables as they should be."""
    text = replace_between(README.read_text(), "values", table("values"))
    return replace_between(text, "settings", table("settings"))


def manifest_text(name: str) -> str:
    """One file of deploy/manifests."""
    about, steps = _ABOUT[name]
    head = _HEAD.format(about=about, steps="\n".join(f"#   {step}" for step in steps))
    objects = [_namespace(), *map(plain, rendered(VARIANTS[name], "--skip-tests"))]
    texts = [yaml.dump(item, Dumper=_Dumper, sort_keys=False, width=1000) for item in objects]
    return head + "---\n".join(["", *texts])


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their key, as people write manifests."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        del indentless
        return super().increase_indent(flow, False)


def _namespace() -> Manifest:
    levels = ("enforce", "warn", "audit")
    labels = {f"pod-security.kubernetes.io/{level}": "restricted" for level in levels}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": labels},
    }


def plain(item: Manifest) -> Manifest:
    """An object without what only Helm understands, and with the namespace it is for."""
    found = copy.deepcopy(item)
    for metadata in _metadata(found):
        labels = metadata.get("labels", {})
        labels.pop("helm.sh/chart", None)
        labels.pop("app.kubernetes.io/managed-by", None)
        notes = metadata.get("annotations", {})
        for key in [key for key in notes if key.startswith(("helm.sh/", "checksum/"))]:
            del notes[key]
        if not notes:
            metadata.pop("annotations", None)
    if not found["kind"].startswith("Cluster"):
        metadata = found["metadata"]
        found["metadata"] = {"name": metadata.pop("name"), "namespace": NAMESPACE, **metadata}
    return found


def _metadata(item: Manifest) -> Iterator[Manifest]:
    yield item["metadata"]
    template = item.get("spec", {}).get("template")
    if template:
        yield template["metadata"]


def main() -> None:
    """Write all of it, in the order in which one is made of the other."""
    SCHEMA.write_text(schema_text())
    VALUES.write_text(values_text())
    README.write_text(readme_text())
    for place, origin in shipped().items():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(origin.read_bytes())
    rights.FILE.write_text(rights.rights_text())
    MANIFESTS.mkdir(parents=True, exist_ok=True)
    for name in VARIANTS:
        (MANIFESTS / name).write_text(manifest_text(name))
    sys.stdout.write("wrote the chart's schema, values and README, and deploy/manifests\n")


if __name__ == "__main__":
    main()

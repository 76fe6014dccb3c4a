"""What is made of the schema and of the chart is what is committed, and every value is described and used."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from proxy.cli import settings_table
from tests.chart import writing
from tests.chart.helm import CHART, pod_specs
from tests.chart.restricted import violations
from tests.chart.writing import DECIDED, MANIFESTS, README, SCHEMA, VALUES, VARIANTS

HINT = "out of date: run `make docs`"
PROPERTIES = json.loads(SCHEMA.read_text())["properties"]
LEAVES = dict(writing.leaves(PROPERTIES))
TEMPLATES = "".join(
    path.read_text() for path in sorted((CHART / "templates").rglob("*")) if path.is_file()
)


def test_schema_values_and_readme_are_of_one_source() -> None:
    assert SCHEMA.read_text() == writing.schema_text(), HINT
    assert VALUES.read_text() == writing.values_text(), HINT
    assert README.read_text() == writing.readme_text(), HINT


@pytest.mark.parametrize("name", VARIANTS)
def test_plain_manifests_are_what_the_chart_renders(name: str) -> None:
    assert (MANIFESTS / name).read_text() == writing.manifest_text(name), HINT


def test_no_other_manifest_lies_there() -> None:
    assert {path.name for path in MANIFESTS.iterdir()} == set(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_plain_manifests_hold_nothing_of_helm_and_name_their_namespace(name: str) -> None:
    items = list(yaml.safe_load_all((MANIFESTS / name).read_text()))
    assert items[0]["kind"] == "Namespace"
    assert items[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for item in items[1:]:
        assert "helm" not in str(item["metadata"]).lower()
        clusterwide = item["kind"].startswith("Cluster")
        assert ("namespace" in item["metadata"]) == (not clusterwide)
    assert not [v for spec in pod_specs(items).values() for v in violations(spec)]


def test_files_of_deploy_are_the_chart_s_byte_for_byte() -> None:
    places = writing.shipped()
    assert {path.suffix for path in places} == {".yaml", ".json"}
    for place, origin in places.items():
        assert place.read_bytes() == origin.read_bytes(), HINT
    held = {
        path for name in ("prometheus", "grafana") for path in (CHART / "files" / name).iterdir()
    }
    assert held == set(places)


def test_every_value_says_what_it_is() -> None:
    def walk(schema: dict[str, Any], place: str) -> Iterator[str]:
        for name, value in schema.get("properties", {}).items():
            inside = f"{place}.{name}"
            assert value.get("description", "").rstrip(".`) "), inside
            assert value["description"].endswith((".", "…")), inside
            yield inside
            yield from walk(value, inside)
        if "properties" in schema:
            assert schema["additionalProperties"] is False, f"{place}: a misspelt name passes"
        # Of what stands in a list, or under any name, somebody asks as much.
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                yield from walk(schema[key], f"{place}[]")

    text = SCHEMA.read_text()
    found = set(walk(json.loads(text), ""))
    assert {".imagePullSecrets[].name", ".image.registry"} <= found
    for key in ("allOf", "anyOf", "oneOf", "$ref", "definitions", "patternProperties"):
        assert f'"{key}":' not in text, "to be walked, too"


@pytest.mark.parametrize("name", [name for name in LEAVES if not name.startswith("settings.")])
def test_every_value_has_a_default_and_a_use(name: str) -> None:
    assert "default" in LEAVES[name]
    if name == "global":
        return
    # By its whole name, as part of a group that is taken whole, or under `with`.
    parts = name.split(".")
    whole = [".".join(parts[: end + 1]) for end in range(len(parts))][1:] or parts
    used = any(f".Values.{each}" in TEMPLATES for each in [name, *whole])
    last = re.search(rf"\.{parts[-1]}\b", TEMPLATES)
    assert used or last or parts[-1] in {"runAsUser", "runAsGroup", "fsGroup"}, name


def test_every_setting_is_there_but_those_that_follow_from_others() -> None:
    names = {name.removeprefix("settings.") for name in LEAVES if name.startswith("settings.")}
    assert names == {row.name for row in settings_table.rows()} - DECIDED
    assert {row.name for row in settings_table.rows()} >= DECIDED


def test_values_are_what_the_schema_says_by_default() -> None:
    values = writing.defaults()

    def at(name: str) -> object:
        found: object = values
        for part in name.split("."):
            assert isinstance(found, dict)
            found = found[part]
        return found

    for name, leaf in LEAVES.items():
        if not name.startswith("settings.") and name != "global":
            assert at(name) == leaf["default"], name
    assert values["settings"] == {}

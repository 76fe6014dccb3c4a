"""The rules: Prometheus accepts them, their unit tests pass, and every alert has its runbook."""

import re
from typing import Any

import pytest
import yaml

from tests.deploy.prometheus import DEPLOY, ROOT, RULES, promtool
from tests.write_tables import metrics

ALERTS = ROOT / "docs" / "alerts.md"
TESTS = DEPLOY / "prometheus" / "rules.test.yaml"
SUFFIXES = ("_bucket", "_sum", "_count")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def names() -> list[str]:
    return list(dict.fromkeys(rule["alert"] for rule in alerts()))


def anchor(title: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def test_prometheus_accepts_them() -> None:
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", RULES)


def test_their_unit_tests_pass() -> None:
    assert "SUCCESS" in promtool("test", "rules", TESTS)


def test_every_alert_is_seen_firing_and_silent() -> None:
    fires: dict[str, set[bool]] = {}
    for test in yaml.safe_load(TESTS.read_text())["tests"]:
        for case in test["alert_rule_test"]:
            fires.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
    assert fires == {name: {True, False} for name in names()}


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    headings = re.findall(r"^## (.+)$", ALERTS.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(names())
    for rule in alerts():
        url = rule["annotations"]["runbook_url"]
        assert url.endswith(f"/docs/alerts.md#{anchor(rule['alert'])}"), rule["alert"]


@pytest.mark.parametrize("name", names())
def test_a_runbook_says_what_it_means_how_to_look_and_what_to_do(name: str) -> None:
    section = ALERTS.read_text().split(f"\n## {name}\n")[1].split("\n## ")[0]
    said = [part for part in ("What it means.", "How to look.", "What to do.") if part in section]
    assert len(said) == 3
    severities = {rule["labels"]["severity"] for rule in alerts() if rule["alert"] == name}
    assert [word for word in severities if f"*{word}" not in section] == []


def test_every_metric_a_rule_names_is_one_of_the_product() -> None:
    known = {name for name, *_ in metrics()}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        for name in re.findall(r"kubewitness[a-z0-9_:]+", rule["expr"]):
            plain = next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name)
            assert {name, plain} & (known | recorded), f"{name} in {rule}"

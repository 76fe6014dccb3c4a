"""Metrics: what is gone is shown no more, in one process and in several."""

import ast
import os
import subprocess
import sys
from pathlib import Path

from proxy.authn.authenticate import Reason
from proxy.metrics import REFUSALS, Metrics, forget
from tests.write_tables import ROOT, modules

SHARED = """
import math, sys
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from proxy.metrics import Metrics, forget

metrics = Metrics()
up = metrics.cluster_up
shared = CollectorRegistry()
MultiProcessCollector(shared, sys.argv[1])
seen = []
for step in (lambda: up.labels("a").set(1), lambda: forget(up, "a"), lambda: up.labels("a").set(0)):
    step()
    seen.append(shared.get_sample_value("kubewitness_cluster_up", {"cluster": "a"}))
print(seen)
"""


def test_what_is_gone_is_shown_no_more() -> None:
    metrics = Metrics()
    metrics.cluster_up.labels("a").set(1)
    metrics.cluster_up.labels("b").set(1)
    forget(metrics.cluster_up, "a")
    value = metrics.registry.get_sample_value
    assert value("kubewitness_cluster_up", {"cluster": "a"}) is None
    assert value("kubewitness_cluster_up", {"cluster": "b"}) == 1


def test_between_processes_it_is_no_number_until_it_is_back(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", SHARED, str(tmp_path)],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert said.stdout.strip() == "[1.0, nan, 0.0]", said.stderr


def said(call: ast.Call) -> set[str]:
    """The reason that a call of ours gives for a refusal, if it is one and says so in plain text."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    place = {"Refused": 1, "refused": 0, "_failed": 1, "_forbidden": 1}.get(name)
    if name == "labels" and ast.unparse(function).endswith("refusals.labels"):
        place = 0
    if place is None or place >= len(call.args):
        return set()
    given = call.args[place]
    return (
        {given.value} if isinstance(given, ast.Constant) and isinstance(given.value, str) else set()
    )


def test_every_reason_of_a_refusal_is_there_from_the_start() -> None:
    found: set[str] = set()
    for path in modules():
        if path.is_relative_to(ROOT / "proxy" / "gateway") or path.stem == "dispatch":
            calls = [
                node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
            ]
            found.update(*(said(call) for call in calls))
    assert found | set(Reason) == set(REFUSALS)
    samples = [
        sample
        for family in Metrics().registry.collect()
        for sample in family.samples
        if sample.name == "kubewitness_refusals_total"
    ]
    assert {sample.labels["reason"]: sample.value for sample in samples} == dict.fromkeys(
        REFUSALS, 0
    )

"""Metrics: what is gone is shown no more, in one process and in several."""

import os
import subprocess
import sys
from pathlib import Path

from proxy.metrics import Metrics, forget

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


def test_what_is_gone_is_shown_no_more():
    metrics = Metrics()
    metrics.cluster_up.labels("a").set(1)
    metrics.cluster_up.labels("b").set(1)
    forget(metrics.cluster_up, "a")
    value = metrics.registry.get_sample_value
    assert value("kubewitness_cluster_up", {"cluster": "a"}) is None
    assert value("kubewitness_cluster_up", {"cluster": "b"}) == 1


def test_between_processes_it_is_no_number_until_it_is_back(tmp_path: Path):
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", SHARED, str(tmp_path)],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert said.stdout.strip() == "[1.0, nan, 0.0]", said.stderr

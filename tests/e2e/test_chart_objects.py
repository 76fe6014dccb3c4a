"""Everything the chart renders, over the whole matrix of values, as the API server judges it."""

import json
import os
from collections.abc import Iterator

import pytest

from tests.chart import helm as charts
from tests.chart.matrix import MATRIX
from tests.e2e import release as releases
from tests.e2e.client import Client
from tests.e2e.comparing import MANIFESTS


@pytest.fixture(scope="module")
def operators(admin: Client) -> None:
    """The kinds of the Prometheus operator and the Gateway API that the chart makes objects of."""
    admin.ok("apply", "-f", str(MANIFESTS / "operators.yaml"))
    admin.ok("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")


@pytest.fixture(scope="module")
def restricted(admin: Client) -> Iterator[Client]:
    """Kubectl in a namespace that enforces restricted pods."""
    name = f"e2e-{os.getpid()}-restricted"
    yield releases.restricted_namespace(admin, name)
    admin.ok("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("name", MATRIX)
def test_every_object_passes_a_server_side_dry_run(
    admin: Client, operators: None, restricted: Client, name: str
) -> None:
    del operators
    objects = charts.rendered(MATRIX[name])
    for item in objects:
        if not item["kind"].startswith("Cluster"):
            item["metadata"]["namespace"] = restricted.namespace
    document = {"apiVersion": "v1", "kind": "List", "items": objects}
    done = restricted.run(
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"),
        stdin=json.dumps(document).encode(),
    )
    assert done.code == 0, done.errors
    assert "would violate PodSecurity" not in done.errors
    assert len(done.text.splitlines()) == len(objects)

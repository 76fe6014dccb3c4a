"""The chart installed through a proxy that runs already: Helm's own calls, one by one, in its record."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import release as releases
from tests.e2e.client import Client
from tests.e2e.conftest import USER
from tests.e2e.records import Call, call, forwarded
from tests.e2e.release import Release
from tests.e2e.serving import Proxy

pytestmark = pytest.mark.timeout(600)
NAMESPACE = "kubewitness-through"


def test_each_of_helm_s_calls_is_on_record(
    admin: Client,
    image: None,
    proxy: Proxy,
    proxied_kubeconfig: Path,
    audit_log: Path,
    tmp_path: Path,
) -> None:
    del image
    before = by_helm(audit_log)
    with through(admin, proxied_kubeconfig, tmp_path) as release:
        release.install()
        release.helm.ok("test", releases.NAME, "--timeout=120s", timeout=150)
        release.uninstall()
    made = {key: call for key, call in by_helm(audit_log).items() if key not in before}
    kinds = {call[1] for call in made.values()}
    assert kinds >= {"get", "list", "watch", "create", "patch", "delete"}, kinds
    assert {call[0] for call in made.values()} == {USER}, "nothing went past the proxy"

    def ours() -> dict[str, Call]:
        return {key: call for key, call in forwarded(proxy).items() if key in made}

    releases.eventually("both records say the same", lambda: ours() == made, 15)


@contextmanager
def through(admin: Client, kubeconfig: Path, directory: Path) -> Iterator[Release]:
    """What one replica needs, in a namespace for it; Helm's way there is the kubeconfig."""
    kubectl = releases.restricted_namespace(admin, NAMESPACE)
    where = releases.volume(admin, directory, "volume", NAMESPACE)
    values = releases.write_values(directory / "values.yaml", releases.small(NAMESPACE))
    helm = releases.helm_client(directory, kubeconfig, NAMESPACE)
    try:
        yield Release(helm, kubectl, values, (where,))
    finally:
        admin.run("delete", "namespace", NAMESPACE, "--wait=true", timeout=90)
        admin.run("delete", "persistentvolume", f"{NAMESPACE}-volume", "--wait=false")


def by_helm(audit_log: Path) -> dict[str, Call]:
    """What the API server saw of Helm, by audit id, whoever it came through."""
    found = {}
    for line in audit_log.read_text().splitlines():
        event = json.loads(line)
        if event.get("userAgent", "").startswith("Helm/"):
            found[event["auditID"]] = call(event)
    return found

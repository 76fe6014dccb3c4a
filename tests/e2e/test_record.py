"""The record against the oracle: the API server's own audit log. Runs last, over all that the others did."""

import time
from pathlib import Path

from tests.e2e.client import Client
from tests.e2e.records import arrived, forwarded
from tests.e2e.serving import Proxy

# The proxy's account of a call and the API server's are each complete a moment after the call is.
SETTLE_SECONDS = 15


def test_every_call_is_in_both_records_alike(
    proxy: Proxy, proxied_kubeconfig: Path, admin: Client, audit_log: Path
) -> None:
    Client(admin.program, proxied_kubeconfig).ok("get", "namespaces")
    deadline = time.monotonic() + SETTLE_SECONDS
    while (ours := forwarded(proxy)) != (theirs := arrived(audit_log)):
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert ours
    differing = [
        f"{audit_id}: we say {ours.get(audit_id)}, the API server says {theirs.get(audit_id)}"
        for audit_id in sorted(ours.keys() | theirs.keys())
        if ours.get(audit_id) != theirs.get(audit_id)
    ]
    assert not differing, "\n".join(differing)

"""The record against the oracle: the API server's own audit log. Runs last, over all that the others did."""

import json
import time
from pathlib import Path
from typing import Any

from tests.e2e.client import Client
from tests.e2e.conftest import FIRST
from tests.e2e.serving import Proxy

# The proxy's account of a call and the API server's are each complete a moment after the call is.
SETTLE_SECONDS = 15
CREDENTIAL = "kubewitness.io/credential"
# Other proxies (the chart's) have accounts of their own.
ACCOUNT = "system:serviceaccount:kubewitness:kubewitness"

Call = tuple[str, str, str, int]
"""Who the cluster saw, verb, URI, status."""


def forwarded(proxy: Proxy) -> dict[str, Call]:
    """Calls that the proxy recorded as forwarded to the cluster, by audit id."""
    found = proxy.search("--cluster", FIRST, "--limit", "100000")
    return {event["auditID"]: _call(event) for event in found if "upstreamMicros" in event}


def arrived(audit_log: Path) -> dict[str, Call]:
    """Calls that the API server saw come through the proxy, by audit id.

    The last of an id is the call; before it may stand the review that asked whether its user may do it `--as` another.
    """
    seen = {}
    for line in audit_log.read_text().splitlines():
        event = json.loads(line)
        if event["user"].get("username") != ACCOUNT:
            continue
        if CREDENTIAL in event.get("impersonatedUser", {}).get("extra", {}):
            seen[event["auditID"]] = _call(event | {"user": event["impersonatedUser"]})
    return seen


def _call(event: dict[str, Any]) -> Call:
    user = event["impersonatedUser"] if "impersonatedUser" in event else event["user"]
    status = event.get("responseStatus", {}).get("code", 0)
    return user["username"], event["verb"], event["requestURI"], status


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

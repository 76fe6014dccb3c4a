"""Calls as the proxy recorded them and as the API server saw them, in a form in which they can be compared."""

import json
from pathlib import Path
from typing import Any

from tests.e2e.conftest import FIRST
from tests.e2e.serving import Proxy

CREDENTIAL = "kubewitness.io/credential"
# Other proxies (the chart's) have accounts of their own.
ACCOUNT = "system:serviceaccount:kubewitness:kubewitness"

Call = tuple[str, str, str, int]
"""Who the cluster saw, verb, URI, status."""


def forwarded(proxy: Proxy) -> dict[str, Call]:
    """Calls that the proxy recorded as forwarded to the cluster, by audit id."""
    found = proxy.search("--cluster", FIRST, "--limit", "100000")
    return {event["auditID"]: call(event) for event in found if "upstreamMicros" in event}


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
            seen[event["auditID"]] = call(event | {"user": event["impersonatedUser"]})
    return seen


def call(event: dict[str, Any]) -> Call:
    """What both records say of a call."""
    user = event["impersonatedUser"] if "impersonatedUser" in event else event["user"]
    status = event.get("responseStatus", {}).get("code", 0)
    return user["username"], event["verb"], event["requestURI"], status

"""A small API server that answers reviews out of RBAC rules, over TLS or not."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from proxy.clock import SystemClock
from proxy.pki.authorities import Authorities
from proxy.pki.server import server_certificate
from proxy.upstream.access import Access

Rule = dict[str, Any]
BASIC_USER: list[Rule] = [
    {
        "verbs": ["create"],
        "apiGroups": ["authorization.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    },
    {
        "verbs": ["create"],
        "apiGroups": ["authentication.k8s.io"],
        "resources": ["selfsubjectreviews"],
    },
]
PUBLIC_PATHS: list[Rule] = [
    {"verbs": ["get"], "nonResourceURLs": ["/api", "/api/*", "/healthz", "/version", "/version/"]}
]


def allows(rules: list[Rule], attributes: dict[str, str]) -> bool:
    """Kubernetes' RBAC, for one request."""
    resource = attributes["resource"]
    if attributes.get("subresource"):
        resource += "/" + attributes["subresource"]

    def matches(rule: Rule) -> bool:
        names = rule.get("resourceNames") or []
        return (
            bool({attributes["verb"], "*"} & set(rule["verbs"]))
            and bool({attributes.get("group", ""), "*"} & set(rule["apiGroups"]))
            and bool({resource, "*"} & set(rule["resources"]))
            and (not names or attributes.get("name", "") in names)
        )

    return any(matches(rule) for rule in rules)


@dataclass
class FakeApi:
    """What it answers, and what it was asked."""

    rules: list[Rule] = field(default_factory=list)
    accepted: str = "Bearer good"
    """The Authorization it accepts."""
    version: Any = field(default_factory=lambda: {"gitVersion": "v1.37.2"})
    lists_rules: bool = True
    """False like an authorizer that is a webhook: it decides but cannot say what it would allow."""
    seen: list[tuple[str, str]] = field(default_factory=list)
    server: str = ""
    ca_pem: bytes | None = None

    def access(self, token: str = "good") -> Access:
        return Access(self.server, ca_pem=self.ca_pem, token=token)

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append((request.method, request.path))
        if request.headers.get("Authorization") != self.accepted:
            return web.json_response({"kind": "Status", "code": 401}, status=401)
        path = request.path.removeprefix("/prefix")
        if path == "/version":
            return web.json_response(self.version)
        body = await request.json() if request.can_read_body else {}
        everything = [*BASIC_USER, *self.rules]
        if path.endswith("/selfsubjectaccessreviews"):
            status: dict[str, Any] = {
                "allowed": allows(everything, body["spec"]["resourceAttributes"])
            }
        elif path.endswith("/selfsubjectrulesreviews"):
            status = {
                "resourceRules": everything if self.lists_rules else None,
                "nonResourceRules": PUBLIC_PATHS if self.lists_rules else None,
                "incomplete": not self.lists_rules,
            }
        else:
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        return web.json_response(body | {"status": status})


@asynccontextmanager
async def serving(api: FakeApi, directory: Path | None = None) -> AsyncIterator[FakeApi]:
    """Serve `api` on loopback; with a directory over TLS, with keys made in there."""
    context = None
    if directory is not None:
        authorities = Authorities.open(directory, clock=SystemClock())
        pair = server_certificate(authorities, ("127.0.0.1",), clock=SystemClock())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        api.ca_pem = authorities.bundle_pem()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    api.server = f"{'https' if context else 'http'}://127.0.0.1:{port}"
    try:
        yield api
    finally:
        await runner.cleanup()

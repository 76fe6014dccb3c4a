"""A small API server that keeps RoleBindings, as rbac.authorization.k8s.io/v1 has them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.clock import SystemClock
from proxy.reaching import Upstream
from proxy.upstream.cluster import Target
from proxy.upstream.pool import Pool

PATH = "/apis/rbac.authorization.k8s.io/v1"


@dataclass
class FakeRbac:
    """What is there, and what was asked."""

    namespaces: set[str] = field(default_factory=lambda: {"web", "api"})
    going: set[str] = field(default_factory=set)
    bindings: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    """Methods that are answered 403."""
    seen: list[str] = field(default_factory=list)
    page: int = 2
    """Items of a page at most, whatever was asked for."""
    port: int = 0
    """Where it listens; 0 before it does: anywhere."""

    def target(self, name: str = "prod") -> Target:
        return Target(name=name, host="127.0.0.1", port=self.port)

    def kubeconfig(self) -> bytes:
        entry = {"server": f"http://127.0.0.1:{self.port}"}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "prod",
                "clusters": [{"name": "prod", "cluster": entry}],
                "users": [{"name": "prod", "user": {"token": "hunter2"}}],
                "contexts": [{"name": "prod", "context": {"cluster": "prod", "user": "prod"}}],
            }
        ).encode()

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append(f"{request.method} {request.path}")
        if request.method in self.refuses:
            return _status(403, "rolebindings is forbidden")
        if request.path == "/api/v1/namespaces":
            return self._list(request, [self._namespace(name) for name in sorted(self.namespaces)])
        if request.path == f"{PATH}/rolebindings":
            assert request.query["labelSelector"] == "app.kubernetes.io/managed-by=kubewitness"
            return self._list(request, [item for _, item in sorted(self.bindings.items())])
        _, _, rest = request.path.partition(f"{PATH}/namespaces/")
        namespace, _, name = rest.replace("/rolebindings", "").partition("/")
        if request.method == "DELETE":
            found = self.bindings.pop((namespace, name), None)
            return _status(404, "not found") if found is None else _status(200, "")
        made = await request.json()
        if namespace not in self.namespaces:
            return _status(404, f'namespaces "{namespace}" not found')
        if (namespace, made["metadata"]["name"]) in self.bindings:
            return _status(409, "already exists")
        self.bindings[namespace, made["metadata"]["name"]] = made
        return web.json_response(made, status=201)

    def _namespace(self, name: str) -> dict[str, Any]:
        going = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if name in self.going else {}
        return {"metadata": {"name": name, **going}}

    def _list(self, request: web.Request, items: list[dict[str, Any]]) -> web.Response:
        first = int(request.query.get("continue", 0))
        more = first + self.page
        metadata = {"continue": str(more)} if more < len(items) else {}
        return web.json_response({"metadata": metadata, "items": items[first:more]})


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


@asynccontextmanager
async def serving(fake: FakeRbac) -> AsyncIterator[Pool]:
    """The server running, and a pool to reach it with."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.answer)
    server = TestServer(app, port=fake.port or None)
    await server.start_server()
    fake.port = server.port or 0
    pool = Pool(Upstream(), SystemClock())
    try:
        yield pool
    finally:
        pool.close()
        await server.close()

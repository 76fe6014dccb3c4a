"""The RoleBindings of one cluster, asked for and changed with an account of ours.

Source: Kubernetes API reference, rbac.authorization.k8s.io/v1 RoleBinding; lists are read in pages
(`limit`, `continue`), as every API server since 1.9 gives them.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from proxy.errors import NotFoundError, UnavailableError
from proxy.upstream.asking import ask
from proxy.upstream.cluster import Target
from proxy.upstream.pool import Pool

_ALL: Final = "/apis/rbac.authorization.k8s.io/v1/rolebindings"
_NAMESPACES: Final = "/api/v1/namespaces"
_PAGE: Final = 250
_MOST: Final = 100_000
"""Objects in one list; more would not be grants of people."""


class RoleBindings:
    """Reads and writes RoleBindings. Everything raises UnavailableError with the cluster's words."""

    def __init__(self, pool: Pool, target: Target) -> None:
        self._pool = pool
        self._target = target

    async def ours(self, selector: str) -> list[dict[str, Any]]:
        """Those of every namespace that the label `selector` chooses."""
        return await self._pages(_ALL, {"labelSelector": selector})

    async def namespaces(self) -> frozenset[str]:
        """The namespaces there are, without those that are going."""
        items = await self._pages(_NAMESPACES, {})
        return frozenset(
            str(item["metadata"]["name"])
            for item in items
            if "deletionTimestamp" not in item["metadata"]
        )

    async def _pages(self, path: str, query: Mapping[str, object]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        more: dict[str, str] = {}
        while True:
            asked = urlencode({**query, "limit": _PAGE, **more})
            page = await self._ask(b"GET", f"{path}?{asked}", expected=(200,))
            found += page.get("items") or []
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return found
            if len(found) > _MOST:
                raise UnavailableError(
                    f"Cluster {self._target.name!r} lists more than {_MOST} objects at {path}."
                )
            more = {"continue": token}

    async def create(self, manifest: Mapping[str, Any]) -> None:
        """Make one; that somebody else just made it is as good.

        Raises NotFoundError when there is no such namespace.
        """
        namespace = str(manifest["metadata"]["namespace"])
        await self._ask(
            b"POST", _path(namespace), msgspec.json.encode(manifest), expected=(200, 201, 409)
        )

    async def delete(self, namespace: str, name: str) -> None:
        """Take one away; that it is gone already is as good."""
        try:
            await self._ask(b"DELETE", _path(namespace, name), expected=(200, 202))
        except NotFoundError:
            return

    async def _ask(
        self, method: bytes, path: str, content: bytes = b"", *, expected: tuple[int, ...]
    ) -> dict[str, Any]:
        status, answer = await ask(self._pool, self._target, method, path.encode(), [], content)
        try:
            document = msgspec.json.decode(answer) if answer else {}
        except msgspec.DecodeError:
            document = {}
        if not isinstance(document, dict):
            document = {}
        if status in expected:
            return document
        words = str(document.get("message") or f"HTTP {status}")
        kind = NotFoundError if status == 404 else UnavailableError
        raise kind(f"Cluster {self._target.name!r} says: {words}")


def _path(namespace: str, name: str = "") -> str:
    base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{quote(namespace, safe='')}/rolebindings"
    return f"{base}/{quote(name, safe='')}" if name else base

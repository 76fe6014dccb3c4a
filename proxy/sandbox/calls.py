"""One request to the sandbox with what every handler asks of it: query, body, wanted form of the answer."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from aiohttp import web

from proxy.sandbox import protobuf, tables
from proxy.sandbox.accounts import Account
from proxy.sandbox.failures import ApiError, bad_request
from proxy.sandbox.kinds import Kind
from proxy.sandbox.objects import Object
from proxy.sandbox.registry import Registry
from proxy.sandbox.targets import Target

#: The largest body a real API server reads (3 MiB).
MAX_BODY: Final = 3 * 1024 * 1024
_FALSE: Final = frozenset({"0", "false"})


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was authenticated, authorised and resolved to a target."""

    request: web.Request
    target: Target
    account: Account
    registry: Registry
    warnings: list[str] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        """The kind the call is about."""
        return self.target.kind

    def query(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.request.query.get(name, default)

    def flag(self, name: str) -> bool:
        """A boolean query parameter, read as Kubernetes does: present and not `0` or `false`."""
        value = self.request.query.get(name)
        return value is not None and value.lower() not in _FALSE

    def number(self, name: str) -> int | None:
        """A whole number from the query, None when absent. Raises ApiError 400 when it is none."""
        value = self.query(name)
        if not value:
            return None
        try:
            return int(value)
        except ValueError as error:
            raise bad_request(f"{name}: {value!r} is not a whole number") from error

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be stored. Raises ApiError 400 for values other than `All`."""
        value = self.query("dryRun")
        if value not in ("", "All"):
            raise bad_request(f"dryRun: {value!r} is not supported; use All")
        return bool(value)

    @property
    def manager(self) -> str:
        """The field manager: what the client says, or the first word of its user agent."""
        agent = self.request.headers.get("User-Agent", "unknown")
        return self.query("fieldManager") or agent.split("/")[0][:128] or "unknown"

    async def body(self) -> Any:  # noqa: ANN401 - JSON is anything
        """The decoded body, None when there is none. Raises ApiError 400, 413 or 415."""
        raw = await self.raw()
        if not raw:
            return None
        kind = self.request.content_type
        if kind == "application/vnd.kubernetes.protobuf":
            return protobuf.decode(raw)
        try:
            if kind.endswith("yaml"):
                return yaml.safe_load(raw)
            if kind.endswith("json"):
                return json.loads(raw)
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            raise bad_request(f"the body is not valid {kind}") from error
        message = f"the body of the request was in an unknown format: {kind}"
        raise ApiError(415, "UnsupportedMediaType", message)

    async def object(self) -> Object:
        """The body as an object of some kind. Raises ApiError 400 when it is none."""
        body = await self.body()
        if not isinstance(body, dict) or not isinstance(body.get("metadata", {}), dict | None):
            raise bad_request("the body must be one Kubernetes object")
        if body.get("metadata") is None:
            body["metadata"] = {}
        return body

    async def raw(self) -> bytes:
        """The body's bytes. Raises ApiError 413 when there are too many."""
        try:
            return await self.request.read()
        except web.HTTPRequestEntityTooLarge as error:
            message = f"the request is larger than the {MAX_BODY} bytes a server accepts"
            raise ApiError(413, "RequestEntityTooLarge", message) from error

    def form(self) -> str:
        """The form of the answer that is wanted first: `Table`, `PartialObjectMetadata` or empty."""
        for entry in self.request.headers.get("Accept", "").split(","):
            kind, *parameters = (part.strip() for part in entry.split(";"))
            named = dict(part.partition("=")[::2] for part in parameters)
            wanted = named.get("as", "")
            if wanted == "Table" and named.get("v") == "v1":
                return "Table"
            if wanted.startswith("PartialObjectMetadata") and kind == "application/json":
                return "PartialObjectMetadata"
            if not wanted and kind in ("application/json", "*/*"):
                return ""
        return ""

    def shown(self, items: list[Object], *, header: bool = True) -> Object | None:
        """`items` as a table when that is wanted, else None."""
        if self.form() != "Table":
            return None
        include = self.query("includeObject", "Metadata")
        now = self.registry.clock.now()
        return tables.table(self.kind, items, now, include=include, header=header)

    def single(self, item: Object) -> Object:
        """One object in the form that is wanted."""
        if (table := self.shown([item])) is not None:
            table["metadata"] = {"resourceVersion": item["metadata"].get("resourceVersion", "")}
            return table
        if self.form() == "PartialObjectMetadata":
            return partial(item)
        return item

    def answer(self, body: Object, status: int = 200) -> web.Response:
        """`body` as a JSON response, with the warnings that came up."""
        response = web.json_response(body, status=status, dumps=compact)
        for text in self.warnings:
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            response.headers.add("Warning", f'299 - "{quoted}"')
        return response


def partial(item: Object) -> Object:
    """Only the metadata of `item`."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": item["metadata"],
    }


def compact(value: object) -> str:
    """`value` as JSON without blanks."""
    return json.dumps(value, separators=(",", ":"))

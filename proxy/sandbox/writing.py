"""create, update, patch, delete and deletecollection."""

from typing import Any, Final

from aiohttp import web

from proxy.sandbox import ownership, patching, strategic
from proxy.sandbox.calls import Call
from proxy.sandbox.conforming import conform
from proxy.sandbox.failures import ApiError, bad_request
from proxy.sandbox.objects import Object, copy, name_of, namespace_of
from proxy.sandbox.reading import matcher
from proxy.sandbox.registry import Deletion, Write

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"


def how(call: Call, applied: Object | None = None) -> Write:
    """How a call writes: as which manager, where, and whether for real."""
    return Write(call.manager, call.target.subresource, call.dry_run, applied)


async def create(call: Call) -> web.Response:
    """POST to a collection."""
    body = _conforming(call, await call.object())
    made = call.registry.create(call.kind, call.target.namespace, body, how(call))
    return call.answer(call.single(made), 201)


async def update(call: Call) -> web.Response:
    """PUT of an object or its status."""
    body = _conforming(call, await call.object())
    _address(call, body)
    return call.answer(call.single(call.registry.update(call.kind, body, how(call))))


def _conforming(call: Call, body: Object) -> Object:
    # `kubectl --validate` decides what happens to unknown fields; they are never stored.
    _check_type(call, body)
    shaped, unknown = conform(call.kind, body)
    shaped.setdefault("metadata", {})
    if unknown and call.query("fieldValidation") == "Strict":
        listed = ", ".join(f'unknown field "{path}"' for path in unknown)
        raise bad_request(f"strict decoding error: {listed}")
    if unknown and call.query("fieldValidation") != "Ignore":
        call.warnings.extend(f'unknown field "{path}"' for path in unknown)
    return shaped


def _check_type(call: Call, body: Object) -> None:
    given = (body.get("apiVersion", call.kind.api_version), body.get("kind", call.kind.name))
    wanted = (call.kind.api_version, call.kind.name)
    if given != wanted:
        message = f"the object provided is {given[0]} {given[1]}, expected {wanted[0]} {wanted[1]}"
        raise bad_request(message)


def _address(call: Call, body: Object) -> None:
    target, meta = call.target, body["metadata"]
    if meta.setdefault("name", target.name) != target.name:
        message = f"the name of the object ({meta['name']}) does not match the URL ({target.name})"
        raise bad_request(message)
    if target.namespace and meta.setdefault("namespace", target.namespace) != target.namespace:
        message = f"the namespace of the object ({meta['namespace']}) does not match the URL"
        raise bad_request(message)


async def patch(call: Call) -> web.Response:
    """PATCH of an object or its status, in any of the four forms."""
    change = await call.body()
    if call.request.content_type == APPLY_PATCH:
        return _apply(call, change)
    target = call.target
    before = call.registry.require(call.kind, target.namespace, target.name)
    after = _conforming(call, patched(call.request.content_type, before, change))
    _address(call, after)
    return call.answer(call.single(call.registry.update(call.kind, after, how(call))))


def patched(content_type: str, before: Object, change: Any) -> Object:  # noqa: ANN401
    """`before` with a patch applied. Raises ApiError 400, 415 or 422."""
    if content_type == JSON_PATCH:
        return patching.json_patch(before, change)
    if not isinstance(change, dict):
        raise bad_request("the patch must be an object")
    if content_type == MERGE_PATCH:
        merged = patching.merge(before, change)
    elif content_type == STRATEGIC_PATCH:
        merged = strategic.merge(before, change)
    else:
        accepted = f"{JSON_PATCH}, {MERGE_PATCH}, {STRATEGIC_PATCH}, {APPLY_PATCH}"
        message = f"the body of the request was in an unknown format - accepted types: {accepted}"
        raise ApiError(415, "UnsupportedMediaType", message)
    return copy(merged) if isinstance(merged, dict) else before


def _apply(call: Call, config: Any) -> web.Response:  # noqa: ANN401
    if not isinstance(config, dict) or not isinstance(config.get("metadata"), dict):
        raise bad_request("the applied configuration must be one object with metadata")
    if not call.query("fieldManager"):
        raise bad_request("fieldManager is required for apply patch")
    if config["metadata"].get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    config = _conforming(call, config)
    _address(call, config)
    target, fields = call.target, ownership.fields_of(config)
    write = how(call, fields)
    before = call.registry.store.get(call.kind, target.namespace, target.name)
    if before is None:
        made = call.registry.create(call.kind, target.namespace, config, write)
        return call.answer(call.single(made), 201)
    after = ownership.apply(before, config, call.manager, force=call.flag("force"))
    if _applied_already(before, after, fields, call.manager):
        return call.answer(call.single(before))
    return call.answer(call.single(call.registry.update(call.kind, after, write)))


def _applied_already(before: Object, after: Object, fields: Object, manager: str) -> bool:
    # Applying the same again changes nothing, not even the time of the entry.
    for entry in before["metadata"].get("managedFields") or []:
        if (entry["manager"], entry["operation"]) == (manager, "Apply"):
            return bool(entry["fieldsV1"] == fields) and _content(before) == _content(after)
    return False


def _content(item: Object) -> Object:
    meta = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    return {**item, "metadata": meta}


async def deletion(call: Call) -> Deletion:
    """The options of a delete, from the body and the query."""
    body = await call.body() or {}
    if not isinstance(body, dict):
        raise bad_request("delete options must be an object")
    grace = body.get("gracePeriodSeconds", call.number("gracePeriodSeconds"))
    policy = body.get("propagationPolicy") or call.query("propagationPolicy") or "Background"
    if policy not in ("Background", "Foreground", "Orphan"):
        raise bad_request(
            f"propagationPolicy: {policy!r} is none of Background, Foreground, Orphan"
        )
    preconditions = body.get("preconditions") or {}
    return Deletion(
        grace=None if grace is None else int(grace),
        propagation=policy,
        dry_run=call.dry_run or bool(body.get("dryRun")),
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
    )


async def delete(call: Call) -> web.Response:
    """DELETE of one object: a Status when it is gone, the object while it is going."""
    options = await deletion(call)
    target = call.target
    item = call.registry.require(call.kind, target.namespace, target.name)
    left = call.registry.delete(call.kind, item, options)
    if left is not None:
        return call.answer(left)
    details = {"name": name_of(item), "kind": call.kind.plural, "uid": item["metadata"]["uid"]}
    if call.kind.group:
        details["group"] = call.kind.group
    return call.answer(success() | {"details": details})


async def delete_collection(call: Call) -> web.Response:
    """DELETE of everything a selector picks."""
    options = await deletion(call)
    matches = matcher(call)
    store = call.registry.store
    picked = [item for item in store.items(call.kind, call.target.namespace) if matches(item)]
    for item in picked:
        present = store.get(call.kind, namespace_of(item), name_of(item))
        if present is not None:
            call.registry.delete(call.kind, present, options)
    body: Object = {"kind": f"{call.kind.name}List", "apiVersion": call.kind.api_version}
    meta = {"resourceVersion": str(store.revision)}
    return call.answer({**body, "metadata": meta, "items": picked})


def success() -> Object:
    """A Status that says yes."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

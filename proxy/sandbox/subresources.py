"""The parts of an object with URLs of their own: scale, token, eviction, binding, finalize."""

from aiohttp import web

from proxy.sandbox import kinds
from proxy.sandbox.calls import Call
from proxy.sandbox.failures import bad_request, method_not_allowed
from proxy.sandbox.kinds import SCALE_API_VERSION
from proxy.sandbox.objects import Object, copy, spec_of, status_of, timestamp
from proxy.sandbox.registry import Deletion
from proxy.sandbox.writing import how, patched, success


async def scale(call: Call) -> web.Response:
    """GET, PUT or PATCH of how many copies are wanted."""
    target = call.target
    item = call.registry.require(call.kind, target.namespace, target.name)
    method = call.request.method
    if method == "GET":
        return call.answer(scale_of(item))
    if method == "PUT":
        wanted = await call.object()
    elif method == "PATCH":
        wanted = patched(call.request.content_type, scale_of(item), await call.body())
    else:
        raise method_not_allowed()
    replicas = spec_of(wanted).get("replicas", 0)
    after = copy(item)
    version = wanted["metadata"].get("resourceVersion")
    if version:
        after["metadata"]["resourceVersion"] = version
    after["spec"]["replicas"] = replicas
    return call.answer(scale_of(call.registry.update(call.kind, after, how(call))))


def scale_of(item: Object) -> Object:
    """The Scale object of a workload."""
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    labels = (spec_of(item).get("selector") or {}).get("matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": SCALE_API_VERSION,
        "metadata": {key: item["metadata"][key] for key in kept if key in item["metadata"]},
        "spec": {"replicas": spec_of(item).get("replicas", 0)},
        "status": {
            "replicas": status_of(item).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in labels.items()),
        },
    }


async def evict(call: Call) -> web.Response:
    """POST of an Eviction: a delete that a disruption budget could refuse; the sandbox has none."""
    target = call.target
    body = await call.body() or {}
    options = body.get("deleteOptions") or {}
    pod = call.registry.require(kinds.POD, target.namespace, target.name)
    call.registry.delete(
        kinds.POD,
        pod,
        Deletion(
            grace=options.get("gracePeriodSeconds"),
            dry_run=bool(options.get("dryRun")) or call.dry_run,
        ),
    )
    return call.answer(success(), 201)


async def token(call: Call) -> web.Response:
    """POST of a TokenRequest: an invented token that opens nothing."""
    target = call.target
    call.registry.require(call.kind, target.namespace, target.name)
    body = await call.object()
    seconds = int(spec_of(body).get("expirationSeconds") or 3600)
    expires = timestamp(call.registry.clock.now() + seconds)
    value = f"sandbox-token-of-{target.namespace}-{target.name}-opens-nothing"
    body["status"] = {"token": value, "expirationTimestamp": expires}
    return call.answer(body, 201)


async def bind(call: Call) -> web.Response:
    """POST of a Binding: put a pod on a node by hand."""
    body = await call.object()
    pod = call.registry.require(kinds.POD, call.target.namespace, call.target.name)
    node = (body.get("target") or {}).get("name")
    if not node:
        raise bad_request("target.name: the binding names no node")
    call.registry.mutate(kinds.POD, pod, lambda item: item["spec"].update(nodeName=node))
    return call.answer(success(), 201)


async def finalize(call: Call) -> web.Response:
    """PUT of a namespace without its finalizers: let it go now."""
    body = await call.object()
    home = call.registry.require(kinds.NAMESPACE, "", call.target.name)
    if not spec_of(body).get("finalizers") and home["metadata"].get("deletionTimestamp"):
        call.registry.store.remove(kinds.NAMESPACE, home)
        return call.answer(home)
    return call.answer(call.registry.update(kinds.NAMESPACE, copy(home), how(call)))

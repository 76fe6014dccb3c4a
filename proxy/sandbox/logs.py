"""Container logs: invented, plausible, and the same every time they are read.

Line `n` of a container was written `n` intervals after it started, so a log needs no memory: any
part of it, past or future, can be told from the start time alone.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from proxy.sandbox.calls import Call
from proxy.sandbox.failures import bad_request
from proxy.sandbox.kinds import POD
from proxy.sandbox.objects import Object, name_of, seconds_of, spec_of, status_of

#: Seconds between two lines.
INTERVAL: Final = 1.5
#: Lines that are kept, as if older ones had been rotated away.
KEPT: Final = 2000

_FIRST: Final = {
    "web": ("starting", "configuration read from /etc/web/web.conf", "listening on :8080"),
    "redis": ("starting", "no snapshot found, starting empty", "ready to accept connections on :6379"),
    "other": ("starting", "ready"),
}  # fmt: skip
_PATHS: Final = ("/", "/cart", "/products", "/products/17", "/checkout", "/healthz", "/login")


def _flavour(image: str) -> str:
    if "redis" in image:
        return "redis"
    return "web" if any(word in image for word in ("web", "nginx", "http", "shop")) else "other"


def line(pod: Object, container: Object, number: int) -> str:
    """Line `number` of a container's log, without its time."""
    flavour = _flavour(str(container.get("image", "")))
    first = _FIRST[flavour]
    if number < len(first):
        return first[number]
    seed = hashlib.sha256(f"{name_of(pod)} {container['name']} {number}".encode()).digest()
    if flavour == "redis":
        keys, clients = seed[0] * 7 + number, seed[1] % 9 + 1
        return f"{clients} clients connected, {keys} keys, {seed[2] / 64 + 1:.1f} MB used"
    if flavour == "web":
        status = 404 if seed[0] > 240 else 200
        path = _PATHS[seed[1] % len(_PATHS)]
        return f"GET {path} {status} {seed[2] + 180}B {seed[3] / 9 + 1:.1f}ms from 10.244.0.{seed[4] % 250 + 2}"
    return f"tick {number} done in {seed[0] / 10 + 1:.1f}ms"


def find_container(pod: Object, name: str) -> Object:
    """The container of that name, the only one when no name is given. Raises ApiError 400."""
    containers: list[Object] = spec_of(pod)["containers"]
    listed = " ".join(entry["name"] for entry in containers)
    if not name:
        if len(containers) > 1:
            message = f"a container name must be specified for pod {name_of(pod)}, choose one of: [{listed}]"
            raise bad_request(message)
        return containers[0]
    for container in containers:
        if container["name"] == name:
            return container
    raise bad_request(
        f"container {name} is not valid for pod {name_of(pod)}, choose one of: [{listed}]"
    )


def started_at(pod: Object, container: Object) -> float:
    """When a container started, in Unix seconds. Raises ApiError 400 when it has not."""
    for entry in status_of(pod).get("containerStatuses") or []:
        if entry["name"] != container["name"]:
            continue
        state = entry["state"]
        begun = state.get("running") or state.get("terminated")
        if begun:
            return seconds_of(begun["startedAt"])
        reason = state.get("waiting", {}).get("reason", "ContainerCreating")
        message = (
            f'container "{container["name"]}" in pod "{name_of(pod)}" is waiting to start: {reason}'
        )
        raise bad_request(message)
    raise bad_request(f'pod "{name_of(pod)}" has not been placed on a node yet')


async def logs(call: Call) -> web.StreamResponse:
    """GET of a pod's log, followed if asked."""
    pod = call.registry.require(POD, call.target.namespace, call.target.name)
    container = find_container(pod, call.query("container"))
    if call.flag("previous"):
        message = (
            f'previous terminated container "{container["name"]}" in pod "{name_of(pod)}" not found'
        )
        raise bad_request(message)
    started = started_at(pod, container)
    numbers = _asked(call, pod, container, started)
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(call.request)
    left = call.number("limitBytes")
    written = _text(call, pod, container, started, numbers)
    await response.write(written[:left] if left is not None else written)
    if call.flag("follow"):
        with contextlib.suppress(ConnectionError):
            await _follow(call, response, pod, container, started, numbers.stop)
    await response.write_eof()
    return response


def _written(call: Call, pod: Object, started: float) -> int:
    """How many lines have been written by now, or had been when the container ended."""
    end = call.registry.clock.now()
    for entry in status_of(pod).get("containerStatuses") or []:
        if "terminated" in entry["state"]:
            end = seconds_of(entry["state"]["terminated"]["finishedAt"])
    return max(int((end - started) / INTERVAL) + 1, 0)


def _asked(call: Call, pod: Object, container: Object, started: float) -> range:
    written = _written(call, pod, started)
    first = max(written - KEPT, 0)
    since = call.number("sinceSeconds")
    oldest = call.registry.clock.now() - since if since is not None else 0.0
    if stamp := call.query("sinceTime"):
        try:
            oldest = seconds_of(stamp)
        except ValueError as error:
            raise bad_request(f"sinceTime: {stamp!r} is not an RFC 3339 time") from error
    if oldest > started:
        first = max(first, int((oldest - started) / INTERVAL) + 1)
    tail = call.number("tailLines")
    if tail is not None:
        first = max(first, written - tail)
    return range(first, max(written, first))


def _text(call: Call, pod: Object, container: Object, started: float, numbers: range) -> bytes:
    stamped = call.flag("timestamps")
    return "".join(_lines(pod, container, started, numbers, stamped=stamped)).encode()


def _lines(
    pod: Object, container: Object, started: float, numbers: range, *, stamped: bool
) -> Iterator[str]:
    for number in numbers:
        stamp = datetime.fromtimestamp(started + number * INTERVAL, UTC)
        prefix = stamp.strftime("%Y-%m-%dT%H:%M:%S.%f000Z ") if stamped else ""
        yield f"{prefix}{line(pod, container, number)}\n"


async def _follow(
    call: Call,
    response: web.StreamResponse,
    pod: Object,
    container: Object,
    started: float,
    number: int,
) -> None:
    store, clock = call.registry.store, call.registry.clock
    while True:
        await asyncio.sleep(max(started + number * INTERVAL - clock.now(), 0))
        present = store.get(POD, call.target.namespace, call.target.name)
        if present is None or status_of(present).get("phase") != "Running":
            return
        await response.write(_text(call, pod, container, started, range(number, number + 1)))
        number += 1

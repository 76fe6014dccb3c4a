"""From a request to an act: the one way every route is entered.

1. Authenticate: the client certificate of the connection, or an API token (`admitting`).
2. Authorise: the caller's grants give what the route needs, somewhere (`permissions`). Where, the
   handler asks: it shows and changes nothing outside that.
3. Validate: query and body against the route's types; nothing unknown is accepted.
4. Record the intent, durable, before anything is done or shown.
5. Do it.
6. Record the outcome, durable, before the answer is released.

A refusal at 1 or 2 is recorded as `denied`. When the record cannot be written the answer is 503,
and if that happens at 4, nothing was done.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web

from proxy.audit.acts import why
from proxy.audit.event import OK, REQUESTED, SystemEvent, body, new_id, shortened
from proxy.audit.strangers import STRANGE
from proxy.clock import rfc3339
from proxy.control.entry import permissions
from proxy.control.entry.admitting import admit, claimed, presented
from proxy.control.entry.caller import Known
from proxy.control.entry.problems import is_stranger, problem_of, response
from proxy.control.entry.reading import read_body, read_query
from proxy.control.entry.recording import (
    Told,
    clean,
    done,
    not_done,
    record,
    through,
)
from proxy.control.entry.route import STREAM, About, Act, Route, Versioned
from proxy.control.entry.services import Services
from proxy.control.entry.suspecting import denied, name_of, suspect
from proxy.errors import DeniedError, KubewitnessError, UnavailableError
from proxy.tasks import spawn

UNRECORDED: Final = web.RequestKey("unrecorded", bool)
"""Of a request: its refusal is in a sum of such, and has no event of its own."""
_log = structlog.get_logger(__name__)


def endpoint(
    route: Route, services: Services
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler of `route`."""

    async def handle(request: web.Request) -> web.StreamResponse:
        audit_id = new_id(services.clock.now())
        try:
            return await _enter(route, services, request, audit_id)
        except KubewitnessError as error:
            return _refused(request, error, audit_id)
        except Exception as error:  # noqa: BLE001  # the last resort: a 500 that tells nothing
            _log.error("request failed", route=route.operation, audit_id=audit_id, exc_info=error)
            return _refused(request, error, audit_id)

    return handle


async def _enter(
    route: Route, services: Services, request: web.Request, audit_id: str
) -> web.StreamResponse:
    known = await _admitted(route, services, request, audit_id)
    source = request.remote or ""
    await suspect(route, services, known, source, audit_id)
    act = Act(audit_id, services, request, known, source)
    act = replace(act, query=read_query(route, request), body=await read_body(route, request))
    try:
        result = await (_recorded(route, act) if route.action else route.handler(act))
    except DeniedError:
        await denied(route, services, (known.user, name_of(known)[0]), source, audit_id)
        raise
    if isinstance(result, web.StreamResponse):
        return result
    return _answer(route, result)


async def _admitted(route: Route, services: Services, request: web.Request, audit_id: str) -> Known:
    """Authenticate and authorise; a refusal is recorded before it is raised."""
    try:
        known = _allowed(route, services, request)
        if route.method != "GET":
            # Before anything is changed we see what other replicas have changed: a right that was
            # taken away a moment ago, and the version that the caller has read.
            await services.watcher.refresh()
            known = _allowed(route, services, request)
        _check_origin(request)
    except DeniedError as error:
        source = request.remote or ""
        used = presented(request, services.watcher.current, services.clock.now())
        services.metrics.refusals.labels("control-denied").inc()
        if is_stranger(error) and not services.strangers.admits(source, "control-denied"):
            request[UNRECORDED] = True
            services.suspicion.denied_before(used[1])
            raise
        await services.journal.append(body(_denial(route, services, request, audit_id, error)))
        await denied(route, services, used, source, audit_id)
        raise
    return known


def _allowed(route: Route, services: Services, request: web.Request) -> Known:
    snapshot, now = services.watcher.current, services.clock.now()
    usage = permissions.usage_of(route.method, route.full_path)
    known = admit(request, snapshot, now, usage)
    permissions.check(known, snapshot.access, now, route.method, route.full_path)
    return known


def _denial(
    route: Route, services: Services, request: web.Request, audit_id: str, error: DeniedError
) -> SystemEvent:
    user, token = claimed(request)
    detail, target = through(request.headers.get("User-Agent", "")), clean(request.path)
    if is_stranger(error):
        detail["agent"] = shortened(str(detail["agent"]), STRANGE)
        target = shortened(target, STRANGE)
    detail |= {"token": token} if token else {}
    return SystemEvent(
        event_id=audit_id,
        stage_timestamp=rfc3339(services.clock.now()),
        action=route.action or route.operation,
        actor=user,
        source_ips=(request.remote or "",),
        target=target,
        outcome=clean(f"denied: {error.message}"),
        detail=detail,
    )


def _check_origin(request: web.Request) -> None:
    """Refuse what another site made a browser send; it would use the person's certificate."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise DeniedError("The request comes from another site.", hint="Use the API directly.")


async def _recorded(route: Route, act: Act) -> Any:  # noqa: ANN401  # what the route's handler returns
    about = route.about(act)
    act.detail.update(about.detail)
    try:
        await _event(route, act, about, REQUESTED)
    except UnavailableError as unrecorded:
        raise not_done(unrecorded) from unrecorded
    # Shielded: a caller who leaves must not leave an act half done or without its outcome.
    result, error = await asyncio.shield(spawn(_done(route, act, about), name=f"act {act.id}"))
    if error is not None:
        raise error
    return result


async def _done(route: Route, act: Act, about: About) -> tuple[Any, Exception | None]:
    """The handler's result, or its error as a value: it is the caller's, not a failed task's."""
    try:
        result = await route.handler(act)
    except Exception as error:  # noqa: BLE001  # recorded, and raised to the caller
        return None, await _failure(route, act, about, error)
    try:
        await _event(route, act, about, OK)
    except UnavailableError as unrecorded:
        return None, done(unrecorded)
    return result, None


async def _failure(route: Route, act: Act, about: About, error: Exception) -> Exception:
    try:
        await _event(route, act, about, why(error))
    except UnavailableError as unrecorded:
        # The first error says more; the intent without an outcome stands in the record.
        _log.warning("outcome not recorded", audit_id=act.id, error=unrecorded.message)
    return error


async def _event(route: Route, act: Act, about: About, outcome: str) -> None:
    await record(act, [Told(act.id, route.action, about.target, act.detail)], outcome)


def _answer(route: Route, result: Any) -> web.Response:  # noqa: ANN401  # typed by the route
    if result is None:
        return web.Response(status=route.status)
    headers = {}
    if isinstance(result, Versioned):
        headers["ETag"] = f'"{result.version}"'
        result = result.value
    content = result if isinstance(result, bytes) else msgspec.json.encode(result)
    return web.Response(
        body=content, status=route.status, content_type=route.media, headers=headers
    )


def _refused(request: web.Request, error: Exception, audit_id: str) -> web.StreamResponse:
    begun: web.StreamResponse | None = request.get(STREAM)
    if begun is not None and begun.prepared:
        # Half a stream is out: the only honest end is one the client sees as broken.
        if request.transport is not None:
            request.transport.abort()
        return begun
    return response(problem_of(error, "" if UNRECORDED in request else audit_id))

"""From a request to an act: the one way every route is entered.

1. Authenticate: the client certificate of the connection, in the usage the route accepts.
2. Authorise: `proxy.control.permissions`, the only place that decides.
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

from proxy.audit.event import SystemEvent, body, new_id
from proxy.authn.authenticate import Reason, Unauthenticated, authenticate
from proxy.authn.certificate import CertificateIdentity, identify
from proxy.clock import rfc3339
from proxy.control import permissions
from proxy.control.problems import (
    TooLargeError,
    UnauthenticatedError,
    WrongMediaTypeError,
    problem_of,
    response,
)
from proxy.control.route import JSON, STREAM, About, Act, Route
from proxy.control.services import Services
from proxy.errors import DeniedError, InvalidInputError, KubewitnessError, UnavailableError
from proxy.state.snapshot import Credential, Usage
from proxy.tasks import spawn

BODY_LIMIT: Final = 1024 * 1024
"""Bytes of the largest body; a kubeconfig with embedded certificates is a tenth of it."""
_TEXT_LIMIT: Final = 8192
"""Characters of a client's text that a system event keeps: all of a query, which aiohttp bounds."""
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
    credential = await _admitted(route, services, request, audit_id)
    act = Act(audit_id, services, request, credential, request.remote or "")
    act = replace(act, query=_query(route, request), body=await _body(route, request))
    result = await (_recorded(route, act) if route.action else route.handler(act))
    if isinstance(result, web.StreamResponse):
        return result
    return _answer(route, result)


async def _admitted(
    route: Route, services: Services, request: web.Request, audit_id: str
) -> Credential:
    """Authenticate and authorise; a refusal is recorded before it is raised."""
    actor = ""
    try:
        certificate = _certificate(request)
        actor = certificate.user
        usage = permissions.usage_of(route.method, route.full_path)
        credential = _authenticated(certificate, services, usage)
        permissions.check(credential.user, credential.usage, route.method, route.full_path)
        _check_origin(request)
    except DeniedError as error:
        services.metrics.refusals.labels("control-denied").inc()
        event = SystemEvent(
            event_id=audit_id,
            stage_timestamp=rfc3339(services.clock.now()),
            action=route.action or route.operation,
            actor=actor,
            source_ips=(request.remote or "",),
            target=_clean(request.path),
            outcome=_clean(f"denied: {error.message}"),
            detail={"agent": _clean(request.headers.get("User-Agent", ""))},
        )
        await services.journal.append(body(event))
        raise
    return credential


def _check_origin(request: web.Request) -> None:
    """Refuse what another site made a browser send; it would use the person's certificate."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise DeniedError("The request comes from another site.", hint="Use the API directly.")


def _certificate(request: web.Request) -> CertificateIdentity:
    transport = request.transport
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    if not der:
        raise UnauthenticatedError(
            "The connection has no client certificate.",
            hint="Use the `kubewitness` command with an admin credential.",
        )
    return identify(der)


def _authenticated(
    certificate: CertificateIdentity, services: Services, usage: Usage
) -> Credential:
    snapshot, now = services.watcher.current, services.clock.now()
    try:
        return authenticate(certificate, snapshot, now, usage).credential
    except Unauthenticated as error:
        if error.reason is Reason.WRONG_USAGE:
            # We know who it is; it is just not for this: 403, not 401.
            raise DeniedError(
                error.message, hint=f"This route takes a credential for `{usage}`."
            ) from error
        raise


async def _recorded(route: Route, act: Act) -> Any:  # noqa: ANN401  # what the route's handler returns
    about = route.about(act)
    act.detail.update(about.detail)
    try:
        await _event(route, act, about, "requested")
    except UnavailableError as unrecorded:
        raise UnavailableError(
            f"Nothing was done, because it could not be recorded: {unrecorded.message}",
            hint="That comes first; `kubewitness doctor` says more.",
        ) from unrecorded
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
        await _event(route, act, about, "ok")
    except UnavailableError as error:
        return None, UnavailableError(
            f"It was done, but its outcome could not be recorded: {error.message}",
            hint="The intent is in the record. Repair the journal, then look before you repeat it.",
        )
    return result, None


async def _failure(route: Route, act: Act, about: About, error: Exception) -> Exception:
    word = "denied" if isinstance(error, DeniedError) else "failed"
    why = error.message if isinstance(error, KubewitnessError) else "internal error"
    try:
        await _event(route, act, about, f"{word}: {why}")
    except UnavailableError as unrecorded:
        # The first error says more; the intent without an outcome stands in the record.
        _log.warning("outcome not recorded", audit_id=act.id, error=unrecorded.message)
    return error


async def _event(route: Route, act: Act, about: About, outcome: str) -> None:
    agent = act.request.headers.get("User-Agent", "")
    detail = {"credential": act.credential.serial, "agent": _clean(agent)} | {
        key: _clean(value) if isinstance(value, str) else value for key, value in act.detail.items()
    }
    event = SystemEvent(
        event_id=act.id,
        stage_timestamp=rfc3339(act.services.clock.now()),
        action=route.action,
        actor=act.credential.user,
        source_ips=(act.source,),
        target=_clean(about.target),
        outcome=_clean(outcome),
        detail=detail,
    )
    await act.services.journal.append(body(event))


def _clean(text: str) -> str:
    """Text of a client as it can be encoded: undecodable bytes escaped, and bounded."""
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return whole if len(whole) <= _TEXT_LIMIT else whole[:_TEXT_LIMIT] + "…"


def _query(route: Route, request: web.Request) -> msgspec.Struct:
    lists = {
        field.encode_name
        for field in msgspec.structs.fields(route.query)
        if msgspec.json.schema(field.type).get("type") == "array"
    }
    given: dict[str, Any] = {}
    for name in request.query:
        values = request.query.getall(name)
        if name in lists:
            given[name] = values
        elif len(values) > 1:
            raise InvalidInputError(f"Query parameter {name!r} is given {len(values)} times.")
        else:
            given[name] = values[0]
    try:
        return msgspec.convert(given, route.query, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInputError(
            f"Query of {route.method} {route.full_path}: {error}.",
            hint="GET /api/v1/openapi.json describes the parameters.",
        ) from error


async def _body(route: Route, request: web.Request) -> msgspec.Struct | None:
    if route.body is None:
        if request.can_read_body:
            raise InvalidInputError(f"{route.method} {route.full_path} takes no body.")
        return None
    if request.content_type != JSON:
        # A page of another site can send other types without asking first (CORS).
        raise WrongMediaTypeError(
            f"The body of {route.method} {route.full_path} must have Content-Type {JSON}."
        )
    try:
        content = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLargeError(
            f"The body of {route.method} {route.full_path} is over {BODY_LIMIT} bytes."
        ) from error
    try:
        return msgspec.json.decode(content, type=route.body)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        # msgspec's messages name the place and the type, never the value.
        raise InvalidInputError(
            f"Body of {route.method} {route.full_path}: {error}.",
            hint="GET /api/v1/openapi.json describes the body.",
        ) from error


def _answer(route: Route, result: Any) -> web.Response:  # noqa: ANN401  # typed by the route
    if result is None:
        return web.Response(status=route.status)
    content = result if isinstance(result, bytes) else msgspec.json.encode(result)
    return web.Response(body=content, status=route.status, content_type=route.media)


def _refused(request: web.Request, error: Exception, audit_id: str) -> web.StreamResponse:
    begun: web.StreamResponse | None = request.get(STREAM)
    if begun is not None and begun.prepared:
        # Half a stream is out: the only honest end is one the client sees as broken.
        if request.transport is not None:
            request.transport.abort()
        return begun
    return response(problem_of(error, audit_id))

"""The control plane as an aiohttp application: the routes, and what is true of all of them."""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from proxy.control.entry.dispatch import endpoint
from proxy.control.entry.problems import problem_of_http, response
from proxy.control.entry.reading import BODY_LIMIT
from proxy.control.entry.services import Services
from proxy.control.routes import ROUTES

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HEADERS: Final = {
    # Answers hold audit records and certificates: no cache may keep them.
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def build(services: Services) -> web.Application:
    """The application. Serve it over TLS that asks for client certificates (`CERT_OPTIONAL`)."""
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_unrouted])
    for route in ROUTES:
        app.router.add_route(route.method, route.full_path, endpoint(route, services))
    app.on_response_prepare.append(_prepare)

    async def closing(app: web.Application) -> None:
        del app
        services.closing.set()

    app.on_shutdown.append(closing)
    return app


@web.middleware
async def _unrouted(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Unknown paths and methods as problems, too."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        answer = response(problem_of_http(error))
        if isinstance(error, web.HTTPMethodNotAllowed):
            answer.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return answer


async def _prepare(request: web.Request, answer: web.StreamResponse) -> None:
    del request
    answer.headers.update(_HEADERS)
    answer.headers.popall("Server", None)

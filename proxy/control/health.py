"""The listener for machines that look after us: `/metrics`, `/livez`, `/readyz`.

Plain HTTP and nothing secret: names of checks, why one fails, and numbers. The health pages are
kube-apiserver's: one line a check, `[+]` or `[-]`, `?verbose` to see them all, `?exclude=name` to
leave one out, `/readyz/<name>` for one alone; 503 when any fails.
What calls can do without (the index) is shown as `[~]` and does not fail the page: taking the
proxy out of service for it would stop the calls. Trouble is shown without `?verbose` too.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

CHECK_TIMEOUT: Final = 2.0
"""Seconds a check may take before it counts as failed."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a check."""

    message: str
    vital: bool = True
    """Whether the page fails with it."""
    state: str = "failed"
    """How the page calls it."""


Probe = Callable[[], str | Trouble | Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold. The probe says what is wrong, or nothing."""

    name: str
    probe: Probe
    vital: bool = True
    """Whether the page fails with it."""

    async def trouble(self) -> Trouble | None:
        """What is wrong now; None when nothing is."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                found = self.probe()
                said = await found if inspect.isawaitable(found) else found
        except TimeoutError:
            said = f"no answer within {CHECK_TIMEOUT:g} s"
        except Exception as error:  # noqa: BLE001  # a broken check is a failed check
            said = f"{type(error).__name__}: {error}"
        if isinstance(said, str):
            return Trouble(said, self.vital) if said else None
        return said if said.message else None


def health_app(
    registry: Callable[[], CollectorRegistry],
    *,
    live: Sequence[Check],
    ready: Callable[[], Sequence[Check]],
) -> web.Application:
    """The listener's application.

    `registry` is asked on every scrape, because with several workers it is a new one each time;
    `ready` on every look, because a process that starts has less to check than one that runs.
    """
    app = web.Application()

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # Collecting reads files when there are several workers.
        body = await asyncio.to_thread(lambda: encode(registry()))
        return web.Response(body=body, headers={"Content-Type": content_type})

    app.router.add_get("/metrics", metrics)
    alive = tuple(live)
    for name, checks in (("livez", lambda: alive), ("readyz", ready)):
        app.router.add_get(f"/{name}", _page(name, checks))
        app.router.add_get(f"/{name}/{{check}}", _single(name, checks))
    return app


def _page(
    name: str, given: Callable[[], Sequence[Check]]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def page(request: web.Request) -> web.Response:
        checks = given()
        left_out = set(request.query.getall("exclude", []))
        looked = [check for check in checks if check.name not in left_out]
        found = dict(
            zip(looked, await asyncio.gather(*(check.trouble() for check in looked)), strict=True)
        )
        troubles = [trouble for trouble in found.values() if trouble is not None]
        failed = any(trouble.vital for trouble in troubles)
        if not troubles and "verbose" not in request.query:
            return web.Response(text="ok\n")
        lines = [_line(check, found.get(check)) for check in checks]
        lines.append(f"{name} check {'failed' if failed else 'passed'}")
        return web.Response(text="\n".join(lines) + "\n", status=503 if failed else 200)

    return page


def _line(check: Check, trouble: Trouble | None) -> str:
    if trouble is None:
        return f"[+]{check.name} ok"
    return f"[{'-' if trouble.vital else '~'}]{check.name} {trouble.state}: {trouble.message}"


def _single(
    name: str, given: Callable[[], Sequence[Check]]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def single(request: web.Request) -> web.Response:
        by_name = {check.name: check for check in given()}
        check = by_name.get(request.match_info["check"])
        if check is None:
            known = ", ".join(by_name)
            return web.Response(text=f"unknown check; {name} has: {known}\n", status=404)
        trouble = await check.trouble()
        if trouble is None:
            return web.Response(text="ok\n")
        return web.Response(text=f"{trouble.message}\n", status=503)

    return single

"""The listener for machines that look after us: `/metrics`, `/livez`, `/readyz`.

Plain HTTP and nothing secret: names of checks, why one fails, and numbers. The health pages are
kube-apiserver's: one line a check, `[+]` or `[-]`, `?verbose` to see them all, `?exclude=name` to
leave one out, `/readyz/<name>` for one alone; 503 when any fails.
What calls can do without (the index) is shown as `[~]` and does not fail the page: taking the
proxy out of service for it would stop the calls.
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

Probe = Callable[[], str | Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold. The probe says what is wrong, or nothing."""

    name: str
    probe: Probe
    vital: bool = True
    """Whether the page fails with it."""

    async def failure(self) -> str:
        """What is wrong now, in words; empty when nothing is."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                found = self.probe()
                return await found if inspect.isawaitable(found) else found
        except TimeoutError:
            return f"no answer within {CHECK_TIMEOUT:g} s"
        except Exception as error:  # noqa: BLE001  # a broken check is a failed check
            return f"{type(error).__name__}: {error}"


def health_app(
    registry: Callable[[], CollectorRegistry], *, live: Sequence[Check], ready: Sequence[Check]
) -> web.Application:
    """The listener's application.

    `registry` is asked on every scrape, because with several workers it is a new one each time.
    """
    app = web.Application()

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # Collecting reads files when there are several workers.
        body = await asyncio.to_thread(lambda: encode(registry()))
        return web.Response(body=body, headers={"Content-Type": content_type})

    app.router.add_get("/metrics", metrics)
    for name, checks in (("livez", live), ("readyz", ready)):
        app.router.add_get(f"/{name}", _page(name, tuple(checks)))
        app.router.add_get(f"/{name}/{{check}}", _single(name, tuple(checks)))
    return app


def _page(name: str, checks: tuple[Check, ...]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def page(request: web.Request) -> web.Response:
        left_out = set(request.query.getall("exclude", []))
        failures = await asyncio.gather(
            *(_outcome(check, check.name in left_out) for check in checks)
        )
        found = list(zip(checks, failures, strict=True))
        failed = any(failure for check, failure in found if check.vital)
        if not failed and "verbose" not in request.query:
            return web.Response(text="ok\n")
        lines = [_line(check, failure) for check, failure in found]
        lines.append(f"{name} check {'failed' if failed else 'passed'}")
        return web.Response(text="\n".join(lines) + "\n", status=503 if failed else 200)

    return page


def _line(check: Check, failure: str) -> str:
    if not failure:
        return f"[+]{check.name} ok"
    return f"[{'-' if check.vital else '~'}]{check.name} failed: {failure}"


async def _outcome(check: Check, left_out: bool) -> str:
    return "" if left_out else await check.failure()


def _single(
    name: str, checks: tuple[Check, ...]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    by_name = {check.name: check for check in checks}

    async def single(request: web.Request) -> web.Response:
        check = by_name.get(request.match_info["check"])
        if check is None:
            known = ", ".join(by_name)
            return web.Response(text=f"unknown check; {name} has: {known}\n", status=404)
        failure = await check.failure()
        return web.Response(text=f"{failure or 'ok'}\n", status=503 if failure else 200)

    return single

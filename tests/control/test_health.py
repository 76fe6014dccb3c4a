"""The pages of the health listener, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry, Counter

from proxy.control import health
from proxy.control.health import Check, Trouble, health_app


async def slow() -> str:
    await asyncio.sleep(60)
    return ""


async def fine() -> str:
    return ""


def broken() -> str:
    raise ValueError("oops")


Get = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def get() -> AsyncIterator[Get]:
    """GET a path of a listener with these checks; (status, text)."""
    runners = []

    async def fetch(
        path: str, *checks: Check, headers: dict[str, str] | None = None
    ) -> tuple[int, str, str]:
        registry = CollectorRegistry()
        Counter("things", "Some things.", registry=registry).inc(3)
        app = health_app(lambda: registry, live=checks, ready=lambda: checks)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with (
            ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as answer,
        ):
            return answer.status, await answer.text(), answer.headers["Content-Type"]

    yield fetch
    for runner in runners:
        await runner.cleanup()


OK = Check("ok", lambda: "")
BAD = Check("bad", lambda: "disk full")
MINOR = Check("minor", lambda: "behind", vital=False)
CLOSED = Check("audit", lambda: Trouble("disk full", state="closed"))
DEGRADED = Check("audit", lambda: Trouble("4 % free", vital=False, state="degraded"))
FINE = Check("audit", lambda: Trouble(""))


@pytest.mark.parametrize("page", ["livez", "readyz"])
@pytest.mark.parametrize(
    ("query", "checks", "status", "text"),
    [
        ("", [OK, Check("async", fine)], 200, "ok\n"),
        ("?verbose", [OK], 200, "[+]ok ok\n{page} check passed\n"),
        ("", [OK, BAD], 503, "[+]ok ok\n[-]bad failed: disk full\n{page} check failed\n"),
        ("?exclude=bad", [OK, BAD], 200, "ok\n"),
        ("", [Check("b", broken)], 503, "[-]b failed: ValueError: oops\n{page} check failed\n"),
        ("", [OK, MINOR], 200, "[+]ok ok\n[~]minor failed: behind\n{page} check passed\n"),
        ("?exclude=minor", [OK, MINOR], 200, "ok\n"),
        ("", [CLOSED], 503, "[-]audit closed: disk full\n{page} check failed\n"),
        ("", [DEGRADED], 200, "[~]audit degraded: 4 % free\n{page} check passed\n"),
        ("", [FINE], 200, "ok\n"),
        ("/audit", [CLOSED], 503, "disk full\n"),
        ("?verbose", [MINOR], 200, "[~]minor failed: behind\n{page} check passed\n"),
        ("/bad", [OK, BAD], 503, "disk full\n"),
        ("/ok", [OK, BAD], 200, "ok\n"),
        ("/none", [OK, BAD], 404, "unknown check; {page} has: ok, bad\n"),
    ],
)
async def test_pages(
    get: Get, page: str, query: str, checks: list[Check], status: int, text: str
) -> None:
    got = await get(f"/{page}{query}", *checks)
    assert got[:2] == (status, text.format(page=page))


async def test_a_check_that_hangs_fails(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_TIMEOUT", 0.02)
    status, text, _ = await get("/readyz", Check("slow", slow))
    assert status == 503
    assert "no answer within" in text


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("*/*", "text/plain"), ("application/openmetrics-text", "application/openmetrics-text")],
)
async def test_metrics_in_the_form_that_was_asked_for(get: Get, accept: str, kind: str) -> None:
    status, text, content_type = await get("/metrics", headers={"Accept": accept})
    assert status == 200
    assert "things_total 3.0" in text
    assert content_type.startswith(kind)

import asyncio
import contextlib
import time

import aiohttp

from proxy.sandbox import Sandbox


async def test_it_starts_at_once_and_ends_open_streams() -> None:
    sandbox = Sandbox(token="chosen")
    before = time.perf_counter()
    url = await sandbox.start()
    assert time.perf_counter() - before < 0.3
    headers = {"Authorization": "Bearer chosen", "Impersonate-User": "alice"}
    watch = "/api/v1/pods?watch=1&resourceVersion=1000000"
    async with aiohttp.ClientSession(url, headers=headers) as session, session.get(watch) as open_:
        assert open_.status == 200
        async with asyncio.timeout(2):
            await sandbox.stop()
            with contextlib.suppress(aiohttp.ClientError):
                await open_.read()

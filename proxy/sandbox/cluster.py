"""The sandbox as one thing to start and stop."""

import asyncio
import base64
import secrets
import ssl
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from proxy.clock import Clock, SystemClock
from proxy.errors import KubewitnessError
from proxy.sandbox import controllers, saving, seed
from proxy.sandbox.objects import Object
from proxy.sandbox.registry import Registry
from proxy.sandbox.server import application
from proxy.sandbox.store import Store
from proxy.tasks import cancel, spawn


class Sandbox:
    """A small Kubernetes API in memory.

    With a `state_file` it loads what is there and saves every change; without one it forgets.
    `token` is the bearer token of its account; a new one is made when it is empty.
    With `tls` it serves HTTPS with a certificate of its own, which a kubectl without the proxy in
    between needs: kubectl sends no token over plain HTTP.
    """

    def __init__(
        self,
        state_file: Path | None = None,
        *,
        clock: Clock | None = None,
        token: str = "",
        tls: bool = False,
    ) -> None:
        self.registry = Registry(Store(), clock or SystemClock())
        self._state_file = state_file
        self._token = token or secrets.token_urlsafe(32)
        self._tls = tls
        self._authority = b""
        self._url = ""
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Serve; gives the base URL, without a slash at its end.

        Raises InvalidInputError when the state file is no saved sandbox and OSError when the port is taken.
        """
        store = self.registry.store
        if self._state_file is None or not saving.load(store, self._state_file):
            seed.plant(self.registry)
        runner = web.AppRunner(
            application(self.registry, self._token),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=0.1,
        )
        await runner.setup()
        site = web.TCPSite(runner, host, port, ssl_context=self._context(host))
        try:
            await site.start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        bound = runner.addresses[0][1]
        self._url = f"{'https' if self._tls else 'http'}://{host}:{bound}"
        self._tasks = [spawn(controllers.run(self.registry), name="sandbox controllers")]
        if self._state_file is not None:
            # Writing the first state here makes an unwritable place fail now and not later.
            saving.save(store, self._state_file)
            self._tasks.append(spawn(saving.keep(store, self._state_file), name="sandbox saving"))
        return self._url

    def _context(self, host: str) -> ssl.SSLContext | None:
        if not self._tls:
            return None
        from proxy.sandbox import certificates

        context, self._authority = certificates.server_context(host, self.registry.clock.now())
        return context

    def kubeconfig(self, *, user: str = "", groups: Sequence[str] = ()) -> Object:
        """A kubeconfig for the running sandbox, with its token.

        Its account may only impersonate; with `user` (and `groups`) the kubeconfig does so by itself. Raises KubewitnessError
        before `start`.
        """
        if not self._url:
            raise KubewitnessError("The sandbox cluster is not running.", hint="Start it first.")
        account: Object = {"token": self._token}
        if user:
            account |= {"as": user, "as-groups": list(groups)}
        cluster = {"server": self._url}
        if self._tls:
            cluster["certificate-authority-data"] = base64.b64encode(self._authority).decode()
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sandbox", "cluster": cluster}],
            "users": [{"name": "sandbox", "user": account}],
            "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox"}}],
            "current-context": "sandbox",
        }

    async def stop(self) -> None:
        """End every stream, stop serving, and save the last state."""
        await cancel(*self._tasks)
        self._tasks = []
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._url and self._state_file is not None:
            saving.save(self.registry.store, self._state_file)
        self._url = ""

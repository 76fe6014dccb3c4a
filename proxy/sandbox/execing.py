"""exec over WebSocket, as `v5.channel.k8s.io` defines it.

Binary messages whose first byte names the channel: 0 input, 1 output, 2 errors, 3 the final Status,
4 terminal sizes, 255 (with one more byte) closes that channel. The older SPDY form is answered with a readable Status.
"""

import asyncio
from typing import Final

from aiohttp import WSMsgType, web

from proxy.sandbox.calls import Call, compact
from proxy.sandbox.failures import bad_request, not_offered
from proxy.sandbox.kinds import POD
from proxy.sandbox.logs import find_container
from proxy.sandbox.nodes import finish
from proxy.sandbox.objects import Object, is_deleting, name_of, status_of
from proxy.sandbox.shell import Shell
from proxy.tasks import cancel, spawn

PROTOCOL: Final = "v5.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255


class Channels:
    """The exec stream as a terminal for the shell."""

    def __init__(self, socket: web.WebSocketResponse, *, tty: bool, stdin: bool) -> None:
        self.tty = tty
        self._socket = socket
        self._input: asyncio.Queue[bytes] = asyncio.Queue()
        self._ended = not stdin

    async def read(self) -> bytes:
        """The next bytes of input, empty at its end."""
        if self._ended and self._input.empty():
            return b""
        data = await self._input.get()
        self._ended = self._ended or not data
        return data

    async def write(self, data: bytes) -> None:
        """Send to the output channel; a terminal wants carriage returns."""
        await self._send(_STDOUT, data)

    async def complain(self, data: bytes) -> None:
        """Send to the error channel, or to the one channel that a terminal has."""
        await self._send(_STDOUT if self.tty else _STDERR, data)

    async def _send(self, channel: int, data: bytes) -> None:
        if self.tty:
            data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        if data:
            await self._socket.send_bytes(bytes([channel]) + data)

    async def finish(self, code: int) -> None:
        """Send the final Status for an exit code."""
        await self._socket.send_bytes(bytes([_ERROR]) + compact(exit_status(code)).encode())

    async def receive(self) -> None:
        """Sort incoming messages until the client leaves."""
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel == _STDIN and data:
                self._input.put_nowait(data)
            elif channel == _CLOSE and data == bytes([_STDIN]):
                self._input.put_nowait(b"")
        self._input.put_nowait(b"")


def exit_status(code: int) -> Object:
    """The Status that ends an exec: success, or the exit code as a cause."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


async def execute(call: Call) -> web.StreamResponse:
    """GET that becomes a WebSocket and runs a command of the sandbox's shell; attach runs the shell itself."""
    pod = call.registry.require(POD, call.target.namespace, call.target.name)
    container = find_container(pod, call.query("container"))
    if call.target.subresource == "attach":
        # The main program of every container turns out to be a shell.
        return await _stream(call, pod, container, ["sh"])
    command = call.request.query.getall("command", [])
    if not command:
        raise bad_request("you must specify at least one command for the container")
    if command[0] == "tar":
        raise not_offered("kubectl cp")
    return await _stream(call, pod, container, command)


async def _stream(
    call: Call, pod: Object, container: Object, command: list[str]
) -> web.StreamResponse:
    if status_of(pod).get("phase") != "Running":
        phase = status_of(pod).get("phase")
        raise bad_request(f"cannot exec in a container of pod {name_of(pod)}: it is {phase}")
    offered = call.request.headers.get("Sec-WebSocket-Protocol", "")
    if call.request.method != "GET" or PROTOCOL not in offered:
        raise not_offered("exec over anything but WebSocket (v5.channel.k8s.io)")
    socket = web.WebSocketResponse(protocols=[PROTOCOL], compress=False, max_msg_size=0)
    await socket.prepare(call.request)
    channels = Channels(socket, tty=call.flag("tty"), stdin=call.flag("stdin"))
    # An empty message on the lowest channel that we write says: ready.
    await socket.send_bytes(bytes([_STDOUT]))
    shell = Shell(pod, container, channels, call.registry.clock)
    receiving = spawn(channels.receive(), name="sandbox exec input")
    running = spawn(_run(call, shell, channels, command), name="sandbox exec")
    try:
        await asyncio.wait({receiving, running}, return_when=asyncio.FIRST_COMPLETED)
        if receiving.done() and not running.done():
            # The client left; a command that waits for input sees its end, any other is stopped.
            await asyncio.wait({running}, timeout=0.2)
    finally:
        await cancel(running, receiving)
        await socket.close()
    return socket


async def _run(call: Call, shell: Shell, channels: Channels, command: list[str]) -> None:
    try:
        code = await shell.run(command)
        if call.target.subresource == "attach":
            _end_container(call, code)
        await channels.finish(code)
    except ConnectionError:
        return


def _end_container(call: Call, code: int) -> None:
    pod = call.registry.store.get(POD, call.target.namespace, call.target.name)
    if pod is not None and not is_deleting(pod):
        finish(call.registry, pod, code)


async def refuse(call: Call) -> web.StreamResponse:
    """Port-forward and the API proxy: named, and not offered."""
    call.registry.require(call.kind, call.target.namespace, call.target.name)
    what = {"portforward": "kubectl port-forward", "proxy": "proxying to pods"}
    raise not_offered(what.get(call.target.subresource, f"kubectl {call.target.subresource}"))

"""exec and attach with a real kubectl, with and without a terminal."""

import asyncio
import contextlib
import os
import pty

import pytest

from tests.sandbox.transcripts import KUBECTL, Kubectl

EXEC = "exec -n shop deploy/web -i -- "


@pytest.fixture
async def ready(kubectl: Kubectl) -> Kubectl:
    await kubectl.play("$ wait --for=condition=Available deploy/web -n shop --timeout=5s")
    return kubectl


async def test_commands_give_output_and_exit_codes(ready: Kubectl) -> None:
    await ready.play("""
    $ exec -n shop deploy/web -- echo hi there
      hi there
    $ exec -n shop deploy/web -- sh -c 'echo one; exit 7'
      one
      command terminated with exit code 7
      -> 7
    $ exec -n shop deploy/web -- nosuch
      sh: nosuch: not found in the sandbox
      command terminated with exit code 127
      -> 127
    $ exec -n shop deploy/web -c nope -- ls
      error: container nope is not valid for pod web-… out of: web
      -> 1
    $ exec -n shop nosuch -- ls
      Error from server (NotFound): pods "nosuch" not found
      -> 1
    """)


async def test_input_is_read_to_its_end(ready: Kubectl) -> None:
    data = b"".join(f"line {number}\n".encode() for number in range(20_000))
    output = await ready(EXEC + "cat", stdin=data)
    assert (output.text.encode() == data, output.code) == (True, 0)
    output = await ready(EXEC + "sh", stdin=b"echo a\necho b && exit 4\n")
    assert (output.text.split("\n")[:2], output.code) == (["a", "b"], 4)


async def test_spdy_is_answered_in_words(ready: Kubectl) -> None:
    output = await ready("exec -n shop deploy/web -- ls", KUBECTL_REMOTE_COMMAND_WEBSOCKETS="false")
    assert "exec over anything but WebSocket" in output.text
    assert output.code == 1


async def typed(kubectl: Kubectl, command: str, *keys: tuple[str, str]) -> tuple[str, int]:
    """What a terminal shows when each of `keys` is typed after its prompt has appeared."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        str(KUBECTL),
        *command.split(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=kubectl.environment(),
        start_new_session=True,
    )
    os.close(theirs)
    screen, seen, left = "", 0, list(keys)
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(ours), "rb", buffering=0)
    )
    try:
        async with asyncio.timeout(15):
            # Linux reports the end of a terminal as an input error.
            with contextlib.suppress(OSError):
                while data := await reader.read(4096):
                    screen += data.decode()
                    if left and left[0][0] in screen[seen:]:
                        seen = len(screen)
                        os.write(ours, left.pop(0)[1].encode())
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        transport.close()
        os.close(ours)
    return screen.replace("\r\n", "\n"), code


async def test_a_terminal_shows_a_prompt_and_edits_lines(ready: Kubectl) -> None:
    screen, code = await typed(
        ready,
        "exec -n shop -it deploy/web -- sh",
        ("# ", "echo helloo\x7f $CURRENCY\r"),
        ("# ", "nonsense\x03"),
        ("# ", "cat\r"),
        ("cat", "again\r"),
        ("again\r\nagain", "\x04"),
        ("# ", "exit 3\r"),
    )
    assert "\nhello EUR\n" in screen
    assert "^C\n" in screen
    assert "again\nagain\n" in screen
    assert code == 3


async def test_attach_finds_a_shell(ready: Kubectl) -> None:
    screen, code = await typed(
        ready,
        "run box --image=busybox -it --rm --restart=Never -n shop -- sh",
        ("# ", "hostname\r"),
        ("# ", "\x04"),
    )
    assert "\nbox\n" in screen
    assert ('pod "box" deleted' in screen, code) == (True, 0)

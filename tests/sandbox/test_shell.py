import pytest

from proxy.clock import ManualClock
from proxy.sandbox.objects import Object
from proxy.sandbox.shell import Shell

CONTAINER: Object = {"name": "main", "env": [{"name": "COLOUR", "value": "red"}]}
POD: Object = {
    "metadata": {"name": "web-1", "namespace": "shop", "uid": "u"},
    "spec": {"nodeName": "n-1", "containers": [CONTAINER]},
}


class Recorder:
    """A terminal whose input is given and whose output is kept."""

    def __init__(self, *chunks: bytes, tty: bool = False) -> None:
        self.tty = tty
        self.out = self.err = b""
        self._chunks = list(chunks)

    async def read(self) -> bytes:
        return self._chunks.pop(0) if self._chunks else b""

    async def write(self, data: bytes) -> None:
        self.out += data

    async def complain(self, data: bytes) -> None:
        self.err += data


async def run(terminal: Recorder, *words: str) -> int:
    return await Shell(POD, CONTAINER, terminal, ManualClock()).run(list(words))


@pytest.mark.parametrize(
    ("script", "out", "code"),
    [
        ("echo a; echo b", "a\nb\n", 0),
        ("echo 'a  b' \"c d\"", "a  b c d\n", 0),
        ("false && echo no || echo yes", "yes\n", 0),
        ("true || echo no && echo yes", "yes\n", 0),
        ("false", "", 1),
        ("exit 3; echo no", "", 3),
        ("false; exit", "", 1),
        ("false; echo $?", "1\n", 0),
        ("echo $COLOUR ${COLOUR}ish $UNSET.", "red redish .\n", 0),
        ("hostname\npwd", "web-1\n/\n", 0),
        ("cat /etc/hostname", "web-1\n", 0),
        ("ls /etc", "hostname\nhosts\nmotd\nos-release\n", 0),
        ("echo -n x", "x", 0),
        ("sh -c 'exit 5'", "", 5),
        ("date", "Fri Jan 15 08:00:00 UTC 2027\n", 0),
        ("", "", 0),
    ],
)
async def test_scripts(script: str, out: str, code: int) -> None:
    terminal = Recorder()
    assert await run(terminal, "sh", "-c", script) == code
    assert terminal.out.decode() == out


@pytest.mark.parametrize(
    ("script", "complaint", "code"),
    [
        ("nosuch", "sh: nosuch: not found in the sandbox", 127),
        ("ls | wc", "pipes and redirections are not offered", 2),
        ("echo x > y", "pipes and redirections are not offered", 2),
        ("echo 'open", "syntax error", 2),
        ("cat /none", "No such file", 1),
        ("ls /none", "No such file", 1),
        ("sleep soon", "invalid number", 1),
    ],
)
async def test_complaints(script: str, complaint: str, code: int) -> None:
    terminal = Recorder()
    assert await run(terminal, "sh", "-c", script) == code
    assert complaint in terminal.err.decode()


async def test_commands_arrive_in_any_pieces() -> None:
    text = b"echo one\necho two && echo three"
    for cut in range(len(text)):
        terminal = Recorder(text[:cut] or b"\n", text[cut:])
        assert await run(terminal, "sh") == 0
        assert terminal.out == b"one\ntwo\nthree\n"


async def test_typing_ahead_reaches_the_next_program() -> None:
    terminal = Recorder(b"cat\rhello\r\x04echo done\rexit 4\r", tty=True)
    assert await run(terminal, "sh") == 4
    assert b"hello\nhello\n" in terminal.out
    assert b"\ndone\n" in terminal.out

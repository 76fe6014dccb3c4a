"""A shell that is not there: the few programs that people try first in `kubectl exec`.

Nothing runs on the machine. Programs read from and write to a Terminal, which the exec stream
implements; each gives its exit code. `sh` understands `;`, `&&`, `||`, quotes and `$NAME`; pipes and
redirections are refused in words.
"""

import asyncio
import shlex
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from string import Template
from typing import Final, Protocol

from proxy.clock import Clock
from proxy.sandbox.objects import Object, name_of, namespace_of
from proxy.sandbox.pod_status import pod_address

SHELLS: Final = frozenset({"sh", "bash", "ash"})
NOT_FOUND: Final = 127
PROMPT: Final = "/ # "
CTRL_C: Final = "\x03"
CTRL_D: Final = "\x04"


class Terminal(Protocol):
    """Where a program's input comes from and its output goes."""

    tty: bool

    async def read(self) -> bytes:
        """The next bytes of input, empty at its end."""
        ...

    async def write(self, data: bytes) -> None:
        """Write to standard output."""
        ...

    async def complain(self, data: bytes) -> None:
        """Write to standard error."""
        ...


class Exit(Exception):  # noqa: N818 - it is no error: the shell was told to end
    """The shell ends with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Shell:
    """One process in one container of one pod."""

    def __init__(self, pod: Object, container: Object, terminal: Terminal, clock: Clock) -> None:
        self._terminal = terminal
        self._clock = clock
        self._host = name_of(pod)
        self._last = 0
        self._ahead = ""
        self._files = _files(pod, container)
        self._environment = _environment(pod, container)

    async def run(self, words: list[str]) -> int:
        """Run one program with its arguments; gives its exit code."""
        name = words[0].rpartition("/")[2]
        if name in SHELLS:
            return await self._shell(words)
        program = _PROGRAMS.get(name)
        if program is None:
            await self._terminal.complain(f"sh: {words[0]}: not found in the sandbox\n".encode())
            return NOT_FOUND
        return await program(self, words[1:])

    async def _shell(self, words: list[str]) -> int:
        try:
            if len(words) > 2 and words[1] in ("-c", "-ec", "-lc"):
                return await self._script(words[2])
            return await (self._interactive() if self._terminal.tty else self._piped())
        except Exit as ended:
            return ended.code

    async def _script(self, text: str) -> int:
        for command in text.replace("\r", "").split("\n"):
            if command.strip():
                self._last = await self._line(command)
        return self._last

    async def _line(self, text: str) -> int:
        try:
            lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            # The dollar sign is expanded after splitting; a comment ends the line.
            tokens = list(lexer)
        except ValueError as error:
            await self._terminal.complain(f"sh: syntax error: {error}\n".encode())
            return 2
        code, words, run = self._last, list[str](), True
        for part in [*tokens, ";"]:
            if part in (";", "&&", "||"):
                if words and run:
                    code = await self.run(words)
                    self._last = code
                run = part == ";" or (code == 0) == (part == "&&")
                words = []
            elif part and part[0] in "|<>&()":
                message = f"sh: {part}: pipes and redirections are not offered by the sandbox\n"
                await self._terminal.complain(message.encode())
                return 2
            else:
                words.append(self._expand(part))
        return code

    def _expand(self, word: str) -> str:
        known = Template(word.replace("$?", str(self._last)))
        unset = dict.fromkeys(known.get_identifiers(), "")
        return known.safe_substitute(unset | self._environment)

    async def _piped(self) -> int:
        text = b""
        while data := await self._terminal.read():
            *lines, text = (text + data).split(b"\n")
            for entry in lines:
                await self._script(entry.decode(errors="replace"))
        return await self._script(text.decode(errors="replace"))

    async def _interactive(self) -> int:
        while (text := await self._typed_line(PROMPT)) is not None:
            await self._script(text)
        return self._last

    async def _typed_line(self, prompt: str = "") -> str | None:
        """One line typed at the terminal, echoed and edited as a terminal does; None at its end."""
        await self._terminal.write(prompt.encode())
        text = ""
        while char := await self._typed_char():
            if char in "\r\n":
                await self._terminal.write(b"\n")
                return text
            if char == CTRL_D and not text:
                await self._terminal.write(b"\n" if prompt else b"")
                return None
            if char == CTRL_C:
                await self._terminal.write(f"^C\n{prompt}".encode())
                text = ""
            elif char in "\x7f\b":
                await self._terminal.write(b"\b \b" if text else b"")
                text = text[:-1]
            elif char.isprintable():
                await self._terminal.write(char.encode())
                text += char
        return None

    async def _typed_char(self) -> str:
        if not self._ahead:
            self._ahead = (await self._terminal.read()).decode(errors="replace")
        char, self._ahead = self._ahead[:1], self._ahead[1:]
        return char

    async def print(self, text: str) -> int:
        """Write one line."""
        await self._terminal.write((text + "\n").encode())
        return 0

    async def echo(self, words: list[str]) -> int:
        """`echo`, with -n."""
        if words[:1] == ["-n"]:
            await self._terminal.write(" ".join(words[1:]).encode())
            return 0
        return await self.print(" ".join(words))

    async def cat(self, words: list[str]) -> int:
        """`cat` of invented files, or of the input until its end."""
        if (not words or words == ["-"]) and self._terminal.tty:
            while (text := await self._typed_line()) is not None:
                await self.print(text)
            return 0
        if not words or words == ["-"]:
            while data := await self._terminal.read():
                await self._terminal.write(data)
            return 0
        code = 0
        for word in words:
            content = self._files.get(word if word.startswith("/") else f"/{word}")
            if content is None:
                await self._terminal.complain(
                    f"cat: can't open '{word}': No such file or directory\n".encode()
                )
                code = 1
            else:
                await self._terminal.write(content.encode())
        return code

    async def ls(self, words: list[str]) -> int:
        """`ls` of the invented files."""
        asked = [word for word in words if not word.startswith("-")] or ["/"]
        base = "/" + asked[0].strip("/")
        prefix = base.rstrip("/") + "/"
        names = sorted(
            {
                path.removeprefix(prefix).split("/")[0]
                for path in self._files
                if path.startswith(prefix)
            }
        )
        if not names and base not in self._files:
            await self._terminal.complain(f"ls: {asked[0]}: No such file or directory\n".encode())
            return 1
        return await self.print("\n".join(names or [asked[0]]))

    async def env(self, _words: list[str]) -> int:
        """`env`."""
        return await self.print(
            "\n".join(f"{key}={value}" for key, value in self._environment.items())
        )

    async def hostname(self, _words: list[str]) -> int:
        """`hostname`."""
        return await self.print(self._host)

    async def date(self, _words: list[str]) -> int:
        """`date`, in UTC."""
        return await self.print(
            datetime.fromtimestamp(self._clock.now(), UTC).strftime("%a %b %e %H:%M:%S UTC %Y")
        )

    async def id(self, _words: list[str]) -> int:
        """`id`."""
        return await self.print("uid=0(root) gid=0(root) groups=0(root)")

    async def whoami(self, _words: list[str]) -> int:
        """`whoami`."""
        return await self.print("root")

    async def pwd(self, _words: list[str]) -> int:
        """`pwd`: always the root."""
        return await self.print("/")

    async def uname(self, _words: list[str]) -> int:
        """`uname`."""
        return await self.print(f"Linux {self._host} sandbox")

    async def ps(self, _words: list[str]) -> int:
        """`ps`."""
        return await self.print(
            "PID   USER     TIME  COMMAND\n    1 root      0:01 main\n   17 root      0:00 ps"
        )

    async def sleep(self, words: list[str]) -> int:
        """`sleep`, in seconds."""
        try:
            await asyncio.sleep(float((words or ["0"])[0].rstrip("s")))
        except ValueError:
            await self._terminal.complain(f"sleep: invalid number '{words[0]}'\n".encode())
            return 1
        return 0

    async def exit(self, words: list[str]) -> int:
        """`exit`: ends the shell."""
        raise Exit(int(words[0]) % 256 if words and words[0].isdigit() else self._last)

    async def true(self, _words: list[str]) -> int:
        """`true`, and commands with nothing to do here."""
        return 0

    async def false(self, _words: list[str]) -> int:
        """`false`."""
        return 1

    async def help(self, _words: list[str]) -> int:
        """`help`: what there is."""
        return await self.print("the sandbox offers: " + " ".join(sorted(_PROGRAMS)))


_PROGRAMS: Final[dict[str, Callable[[Shell, list[str]], Awaitable[int]]]] = {
    "cat": Shell.cat, "clear": Shell.true, "date": Shell.date, "echo": Shell.echo, "env": Shell.env,
    "exit": Shell.exit, "false": Shell.false, "help": Shell.help, "hostname": Shell.hostname,
    "id": Shell.id, "ls": Shell.ls, "printenv": Shell.env, "ps": Shell.ps, "pwd": Shell.pwd,
    "sleep": Shell.sleep, "true": Shell.true, "uname": Shell.uname, "whoami": Shell.whoami,
}  # fmt: skip


def _files(pod: Object, container: Object) -> dict[str, str]:
    home = "/run/secrets/kubernetes.io/serviceaccount"
    return {
        "/bin/sh": "",
        "/etc/hostname": name_of(pod) + "\n",
        "/etc/hosts": f"127.0.0.1\tlocalhost\n{pod_address(pod)}\t{name_of(pod)}\n",
        "/etc/os-release": 'NAME="Sandbox"\nPRETTY_NAME="A container that is not there"\n',
        "/etc/motd": f"You are in {name_of(pod)}, container {container['name']}. Nothing here is real.\n",
        "/proc/version": "Linux version sandbox\n",
        "/tmp/readme": "Files live as long as the sandbox.\n",  # noqa: S108 - a name in an invented file system
        f"{home}/namespace": namespace_of(pod),
        f"{home}/token": "sandbox-token-opens-nothing",
        "/var/log/main.log": "see kubectl logs\n",
    }


def _environment(pod: Object, container: Object) -> dict[str, str]:
    own = {
        entry["name"]: str(entry["value"])
        for entry in container.get("env") or []
        if "value" in entry
    }
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME": name_of(pod),
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "HOME": "/root",
        **own,
    }

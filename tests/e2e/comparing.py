"""Run a story of commands by one way, and take out of what it says all that differs from run to run."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.client import Client

MANIFESTS = Path(__file__).parent / "manifests"

# The letters that Kubernetes makes random suffixes of.
_RANDOM = "[bcdfghjklmnpqrstvwxz2456789]"

# In this order: what is longer first.
_VOLATILE = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "TIME"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [+-]\d{4}", "TIME"),
    (r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME"),
    (r"(?m)^[EWI]\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ ", "LOG "),
    (r'(resourceVersion: )"\d+"', r'\1"N"'),
    (r"(Resource Version:\s+)\d+", r"\1N"),
    (rf"-{_RANDOM}{{7,10}}-{_RANDOM}{{5}}\b", "-HASH-RANDOM"),
    (rf"(kube-api-access|widgets?|web)-{_RANDOM}{{5}}\b", r"\1-RANDOM"),
    (r"\b[0-9a-f]{64}\b", "CONTAINER"),
    (r"\b10\.(244|96)\.\d+\.\d+\b", "ADDRESS"),
    (r"\b(\d+d)?(\d+h)?(\d+m)?\d+(\.\d+)?(ms|s)\b", "AGE"),
    (r"\b(\d+d)?(\d+h)?\d+m\b", "AGE"),
    (r"/tmp/(LIVE|MERGED)-\d+", r"/tmp/\1-N"),
    (r"kubectl-edit-\S+\.yaml", "kubectl-edit.yaml"),
    # The proxy adds which of its credentials it was; documented.
    (r"(?m)^Extra: kubewitness\.io/\S+\s+\[[^]]*\]\n", ""),
    (r" {2,}", "  "),
    (r"-{4,}", "----"),
    # A loop of the API server looks over all addresses every few minutes, now and then just as a Service is made.
    (r"(?m)^.* ipallocator-repair-controller .*\n", ""),
    (r"Events:\n  Type .*\n  ----.*\n(?! )", "Events:  <none>\n"),
)


@dataclass(frozen=True)
class Outcome:
    """What one command of a story did, without what differs from run to run."""

    line: str
    code: int | None
    stdout: str
    stderr: str

    def __str__(self) -> str:
        """The outcome as a transcript shows it."""
        return f"$ {self.line}\n{self.stdout}{self.stderr}(exit code {self.code})\n"


@dataclass(frozen=True)
class Place:
    """Where a story runs: what stands for NAMESPACE, IMAGE and the server's address."""

    namespace: str
    image: str
    server: str

    def fill(self, text: str) -> str:
        """Put the place's own names into a line or a manifest."""
        return text.replace("NAMESPACE", self.namespace).replace("IMAGE", self.image)

    def normalise(self, output: bytes) -> str:
        """Take the place's own names out of what a command said, and all that is of the moment."""
        text = output.decode().replace(self.namespace, "NAMESPACE").replace(self.server, "SERVER")
        for pattern, replacement in _VOLATILE:
            text = re.sub(pattern, replacement, text)
        return text


def tell(story: str, kubectl: Client, place: Place) -> list[Outcome]:
    """Run every command of `story` and give what came of each."""
    lines = [line.strip() for line in story.strip().splitlines()]
    return [_run(line, kubectl, place) for line in lines]


def _run(line: str, kubectl: Client, place: Place) -> Outcome:
    words, stdin, environment = line.split(" "), b"", {}
    loose = words[0] in ("~", "?")
    rest = line.removeprefix("~ ").removeprefix("? ")
    if rest.startswith("< "):
        _, name, rest = rest.split(" ", 2)
        stdin = place.fill((MANIFESTS / name).read_text()).encode()
    arguments = _split(place.fill(rest))
    while re.match(r"[A-Z_]+=", arguments[0]):
        name, value = arguments.pop(0).split("=", 1)
        environment[name] = value
    result = kubectl.using(**environment).run(*arguments, stdin=stdin)
    if line.startswith("?"):
        return Outcome(line, None, "", "")
    stdout, stderr = place.normalise(result.stdout), place.normalise(result.stderr)
    if loose:
        stdout = "".join(stdout.splitlines()[-1:])
    return Outcome(line, result.code, stdout, stderr)


def _split(line: str) -> list[str]:
    """Split at blanks; a backslash keeps one, and quotes are ordinary, as JSON is full of them."""
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split, lexer.quotes, lexer.commenters = True, "", ""
    return list(lexer)

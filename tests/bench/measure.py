"""One measurement: a load of one kind on one contender."""

import json
import os
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.bench.contenders import OTHER_CORE, BenchError, Contender, Place, running

POD = "/api/v1/namespaces/default/pods/web-7d4b9c6f5-abcde"
PODS = "/api/v1/pods?limit=500000"
WATCH = "/api/v1/namespaces/default/pods?watch=true&resourceVersion=1"
PATCH = '{"metadata":{"annotations":{"bench":"yes"}}}'
COLLECTION = "/api/v1/namespaces/default/pods"
POST = '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},"spec":{"containers":[{"name":"a","image":"b"}]}}'
WATCHES = 2000


@dataclass(frozen=True)
class Load:
    """What is sent."""

    name: str
    title: str
    connections: int
    seconds: float
    path: str = POD
    method: str = "GET"
    body: str = ""


LOADS = (
    Load("get1", "GET of 250 bytes, 1 connection", 1, 2.0),
    Load("get32", "GET of 250 bytes, 32 connections", 32, 2.5),
    Load("get200", "GET of 250 bytes, 200 connections", 200, 2.0),
    Load("patch32", "PATCH, 32 connections", 32, 2.0, method="PATCH", body=PATCH),
    Load("post32", "POST, 32 connections", 32, 2.0, path=COLLECTION, method="POST", body=POST),
    Load("list", "GET of a 13 MB list, 1 connection", 1, 2.0, path=PODS),
)


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    rate: float
    """Requests a second."""
    p50: float
    """Milliseconds."""
    p99: float
    megabytes: float
    """MB (10^6 bytes) of bodies a second."""
    cpu: float
    """Microseconds of the proxy's CPU time a request; 0 for the API server itself."""


def measure(place: Place, contender: Contender, load: Load) -> Outcome:
    """Run the load generator once."""
    command: list[object] = ["taskset", "-c", str(OTHER_CORE), place.bench, "load"]
    command += ["-certs", contender.certs, "-address", contender.address]
    command += ["-process", str(contender.process), "-connections", str(load.connections)]
    command += ["-method", load.method, "-path", contender.prefix + load.path, "-body", load.body]
    command += ["-length", f"{load.seconds}s"]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"{load.title} on {contender.name}: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    return Outcome(
        rate=found["requests"] / found["seconds"],
        p50=found["p50_ms"],
        p99=found["p99_ms"],
        megabytes=found["bytes"] / found["seconds"] / 1e6,
        cpu=found["cpu_seconds"] / found["requests"] * 1e6,
    )


def per_watch(place: Place, contender: Contender) -> float:
    """KB (1,000 bytes) of memory that one idle watch costs the proxy, out of `WATCHES`.

    A short load goes first, so that what a process sets up once is not counted.
    """
    measure(place, contender, Load("warm", "warming up", 32, 0.3))
    before = resident(contender.process)
    command = [place.bench, "load", "-hold", "-certs", contender.certs]
    command += ["-address", contender.address, "-connections", str(WATCHES)]
    command += ["-path", contender.prefix + WATCH]
    with running(command, OTHER_CORE, "holding"):
        # What the handshakes needed is given back when none has come for a second.
        threading.Event().wait(2.0)
        after = resident(contender.process)
    return (after - before) / WATCHES / 1000


def spent(process: int) -> float:
    """CPU seconds of a process so far."""
    words = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, words[11:13])) / os.sysconf("SC_CLK_TCK")


def resident(process: int) -> int:
    """Bytes of a process in memory."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise BenchError(f"no VmRSS for process {process}")

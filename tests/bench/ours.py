"""Our data plane in a process of its own, with one cluster and one user, for the benchmark.

Composed as `proxy.runtime` does, but for the journal: the benchmark alone may have one that
records nothing, to show what the record costs. Prints `ready ADDRESS` and ends with its standard
input.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from types import MappingProxyType

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from proxy import logs
from proxy.audit.gate import Gate
from proxy.audit.journal.writer import JournalWriter
from proxy.audit.port import Journal
from proxy.authn.certificate import identify
from proxy.authn.suspicion import Suspicion
from proxy.clock import SystemClock
from proxy.gateway.listener import DataPlane
from proxy.metrics import Metrics
from proxy.runtime.process import prepare
from proxy.settings import Settings, split_address
from proxy.state.snapshot import ClusterRecord, Credential, Snapshot, Usage
from proxy.upstream.cluster import Target
from tests.bench import certificates


class NullJournal:
    """Records nothing; everything is durable at once."""

    failure = ""
    reserve_left = 0

    def __init__(self) -> None:
        self._done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._done.set_result(0)

    def append(
        self, body: bytes, *, urgent: bool = True, reserve: bool = False
    ) -> asyncio.Future[int]:
        del urgent, reserve
        del body
        return self._done

    def post(self, body: bytes) -> None:
        del body


def _snapshot(directory: Path, cluster: str) -> Snapshot:
    certificate = x509.load_pem_x509_certificate((directory / "alice.pem").read_bytes())
    found = identify(certificate.public_bytes(Encoding.DER))
    credential = Credential(
        found.serial,
        found.user,
        found.groups,
        (cluster,),
        Usage.KUBECTL,
        0,
        found.not_after,
        found.fingerprint,
    )
    record = ClusterRecord(cluster, f"id-{cluster}", "https://localhost", 0, b"")
    return Snapshot(
        1, MappingProxyType({found.serial: credential}), MappingProxyType({cluster: record})
    )


async def serve(directory: Path, backend: str, records: Path | None) -> None:
    """Serve until standard input ends."""
    settings = Settings(listen="127.0.0.1:0")
    prepare()
    metrics = Metrics()
    writer = None
    journal: Journal = NullJournal()
    if records is not None:
        writer = await JournalWriter.open(records, "bench", settings.journal, metrics=metrics)
        journal = writer
    snapshot = _snapshot(directory, "prod")
    host, port = split_address(backend)
    tls = certificates.client_context(directory, "proxy")
    target = Target("prod", host, port, tls=tls, server_hostname="localhost")
    context = certificates.server_context(directory)
    plane = DataPlane(
        settings=settings,
        clock=SystemClock(),
        metrics=metrics,
        journal=journal,
        gate=Gate(clock=SystemClock(), metrics=metrics),
        snapshot=lambda: snapshot,
        target={"prod": target}.get,
        suspicion=Suspicion(settings.suspicious, clock=SystemClock(), metrics=metrics),
        server_context=lambda: context,
    )
    address = await plane.start()
    print(f"ready {address[0]}:{address[1]}", flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    await plane.drain(0)
    if writer is not None:
        await writer.close()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certs", type=Path, required=True)
    parser.add_argument("--backend", required=True)
    parser.add_argument("--journal", required=True, help="`none`, or a directory on a real disk")
    given = parser.parse_args()
    logs.configure("info", "console")
    if given.journal == "none":
        uvloop.run(serve(given.certs, given.backend, None))
        return
    with tempfile.TemporaryDirectory(dir=given.journal) as records:
        uvloop.run(serve(given.certs, given.backend, Path(records)))


if __name__ == "__main__":
    main()

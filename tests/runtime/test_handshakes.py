"""Refused logins at the control plane are on record, with their source."""

import asyncio
import ssl
from pathlib import Path

from proxy.cli.client import Client
from proxy.cli.connection import of_data_dir
from proxy.clock import SystemClock
from proxy.pki.authorities import Authorities
from proxy.pki.server import server_certificate
from tests.runtime.processes import initialised, running
from tests.runtime.test_web import refused


async def test_a_certificate_of_strangers_is_on_record_as_a_failed_connection(
    own_environment: None, tmp_path: Path
) -> None:
    settings = initialised(tmp_path / "one")
    strangers = Authorities.open(tmp_path / "strangers", clock=SystemClock())
    theirs = server_certificate(strangers, ["admin"], clock=SystemClock())
    async with running(settings):
        server = of_data_dir(settings.data_dir)
        context = ssl.create_default_context(cadata=server.ca)
        context.load_cert_chain(theirs.certificate, theirs.key)
        await refused(server.host, server.port, context, server.host)
        client = Client(server)
        query = {"kind": "connection", "limit": 10}
        async with asyncio.timeout(10):
            found: list[dict[str, object]] = []
            while not found:
                found = (await asyncio.to_thread(client.get, "/audit/calls", query))["items"]
                await asyncio.sleep(0.05)
    (event,) = found
    assert (event["listener"], event["reason"]) == ("control", "tls-handshake")
    assert event["sourceIPs"] == ["127.0.0.1"]
    assert str(event["message"]).startswith("client certificate refused: ")

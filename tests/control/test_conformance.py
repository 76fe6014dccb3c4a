"""The served OpenAPI document, put to a running control plane by schemathesis.

For each route requests are made that fit the document, and ones that do not. Nothing may fail with a
500, and every answer must be one that the document describes.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from proxy.control.routes import ROUTES
from tests.control.organization import found
from tests.control.plane import Plane

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
LEFT_OUT = {
    # It answers for as long as it is asked.
    "tailCalls",
    # A new authority, with a key, for each request.
    "rotateAuthority",
}
EXAMPLES = 5
"""Requests for each route; all of it takes half a minute."""


@pytest.mark.timeout(300)
def test_every_route_does_what_the_document_says(plane: Plane, tmp_path: Path) -> None:
    found(plane)
    server = plane.admin()
    for name, text in (("ca", server.ca), ("cert", server.certificate), ("key", server.key)):
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "run"),
            f"https://{plane.address}/api/v1/openapi.json",
            *("--tls-verify", tmp_path / "ca"),
            *("--request-cert", tmp_path / "cert", "--request-cert-key", tmp_path / "key"),
            *("--checks", ",".join(CHECKS), "--phases", "fuzzing"),
            *(item for name in LEFT_OUT for item in ("--exclude-operation-id", name)),
            *("--max-examples", str(EXAMPLES), "--no-shrink", "--continue-on-failure"),
            *("--seed", "1", "--generation-database", "none"),
            *("--no-color", "--request-timeout", "20"),
            *("--warnings", "off"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    plane.client().get("/version")
    assert len(plane.events()) > len(ROUTES), "they were asked, and that is on record"

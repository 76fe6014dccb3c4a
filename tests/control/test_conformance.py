"""The served OpenAPI document, put to a running control plane by schemathesis.

For each route requests are made that fit the document, and ones that do not. Nothing may fail with a
500, and every answer must be one that the document describes.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.control.routes import ROUTES
from tests.control.organization import found
from tests.control.plane import Plane
from tests.deploy.prometheus import ROOT

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
)
HOOKS = "tests.control.conformance_hooks"
APART = ("tailCalls", "rotateAuthority")
"""One answers until the server closes, the other makes a new authority with a key: asked at the end."""
EXAMPLES = 12
"""Requests for each route, about half of them with something that does not fit."""


@pytest.mark.timeout(600)
def test_every_route_does_what_the_document_says(plane: Plane, tmp_path: Path) -> None:
    found(plane)
    ask(plane, tmp_path, *(item for name in APART for item in ("--exclude-operation-id", name)))
    plane.run(closing(plane))
    ask(plane, tmp_path, *(item for name in APART for item in ("--include-operation-id", name)))
    plane.client().get("/version")
    assert len(plane.events()) > len(ROUTES), "they were asked, and that is on record"


async def closing(plane: Plane) -> None:
    """From now on who follows is told what there is, and that is the end."""
    plane.services.closing.set()


def ask(plane: Plane, directory: Path, *which: str) -> None:
    """Let schemathesis ask, as the first administrator; whatever it finds fails the test."""
    server = plane.admin()
    for name, text in (("ca", server.ca), ("cert", server.certificate), ("key", server.key)):
        (directory / name).write_text(text)
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "run"),
            f"https://{plane.address}/api/v1/openapi.json",
            *("--tls-verify", directory / "ca"),
            *("--request-cert", directory / "cert", "--request-cert-key", directory / "key"),
            *("--checks", ",".join(CHECKS), "--phases", "fuzzing"),
            *which,
            *("--max-examples", str(EXAMPLES), "--no-shrink", "--continue-on-failure"),
            *("--seed", "1", "--generation-database", "none"),
            *("--no-color", "--request-timeout", "20"),
            *("--warnings", "off"),
        ],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": HOOKS},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr

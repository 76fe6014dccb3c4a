"""Exports by command: files that are whole, private, or not there."""

import csv
import io
import json
from pathlib import Path

from tests.cli.conftest import Command
from tests.control.plane import Plane


def test_export_to_a_file_and_to_a_pipe(plane: Plane, command: Command, tmp_path: Path) -> None:
    ids = [plane.call(), plane.call()]
    file = tmp_path / "audit.ndjson"
    assert command("audit", "export", "--file", str(file)).code == 0
    assert [json.loads(line)["auditID"] for line in file.read_text().splitlines()] == ids
    assert file.stat().st_mode & 0o777 == 0o600
    out = command("audit", "export", "-o", "csv").out
    assert [row["audit_id"] for row in csv.DictReader(io.StringIO(out))] == ids
    assert [path.name for path in tmp_path.iterdir() if "audit" in path.name] == ["audit.ndjson"]


def test_a_broken_export_leaves_no_file(plane: Plane, command: Command, tmp_path: Path) -> None:
    plane.run(plane._append([body for _ in range(1250) for body in plane.bodies()]))
    plane.index.fail_after = 1
    done = command("audit", "export", "--file", str(tmp_path / "audit.ndjson"))
    assert done.code == 6
    assert "broke off" in done.err
    assert [path.name for path in tmp_path.iterdir() if "audit" in path.name] == []
    assert command("audit", "export", "--file", str(tmp_path / "no" / "file")).code == 2

"""Read journals back the slow and obvious way, independently of the code under test."""

import hashlib
import json
from pathlib import Path
from typing import Any


def lines(path: Path) -> list[dict[str, Any]]:
    """Every line of a segment, decoded, up to the first zero byte."""
    text = path.read_bytes().split(b"\0")[0]
    return [json.loads(line) for line in text.splitlines()]


def records(data_dir: Path, slot: str = "0") -> list[dict[str, Any]]:
    """All records of a journal that stand in complete, correct batches, in file order.

    A record that was written again to the next segment appears once.
    """
    found: dict[int, dict[str, Any]] = {}
    for path in sorted((data_dir / "journal" / slot).glob("*.jsonl")):
        body = b""
        prev = None
        for line in path.read_bytes().split(b"\0")[0].splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            value = json.loads(line)
            if "seq" in value and "kind" in value and value["kind"] == "JournalSeal":
                continue
            if value.get("kind") == "JournalHeader":
                prev = value["prev"]
            elif value.get("kind") == "Batch":
                assert prev == value["prev"], path
                prev = hashlib.sha256(value["prev"].encode() + body).hexdigest()
                assert prev == value["sha256"], path
                assert len(body) == value["bytes"]
                whole = [json.loads(record) for record in body.splitlines()]
                assert [record["seq"] for record in whole] == list(
                    range(value["first"], value["last"] + 1)
                )
                for record in whole:
                    assert found.setdefault(record["seq"], record) == record
                body = b""
            else:
                body += line
    return [found[seq] for seq in sorted(found)]


def dense(found: list[dict[str, Any]]) -> bool:
    """Whether sequences start at 1 and have no gap."""
    return [record["seq"] for record in found] == list(range(1, len(found) + 1))

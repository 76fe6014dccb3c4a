"""What clients, API servers, journals and PostgreSQL say about the same calls, compared.

Read without the product's code: journals as text, the table as an administrator sees it.
"""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg

from tests.faults.oracle import Violations

_LINE: Final = re.compile(rb'\{"seq":(\d+),')
_MUTATING: Final = {"POST", "PUT", "PATCH", "DELETE"}
_TERMINAL: Final = {"ResponseComplete", "Panic"}
REFUSED: Final = 503
"""Refused for want of a record: nothing is promised."""


def journal(directory: Path) -> tuple[str, dict[int, bytes]]:
    """The writer of a journal and its lines by sequence; what a segment tells anew counts."""
    writer, lines = "", dict[int, bytes]()
    for path in sorted(directory.glob("*.jsonl")):
        batch: dict[int, bytes] = {}
        for line in path.read_bytes().rstrip(b"\0").split(b"\n"):
            if line.startswith(b'{"kind":"JournalHeader"'):
                header = json.loads(line)
                writer = header["writer"]
                lines = {seq: kept for seq, kept in lines.items() if seq < header["firstSeq"]}
            elif found := _LINE.match(line):
                batch[int(found[1])] = line
            elif line.startswith(b'{"kind":"Batch"'):
                lines |= batch
                batch = {}
    return writer, lines


@dataclass
class _Call:
    """What PostgreSQL has of one call."""

    stages: list[str] = field(default_factory=list)
    code: int = -1
    uri: str = ""
    verb: str = ""
    reason: str = ""


@dataclass
class Recorded:
    """All of PostgreSQL's table."""

    lines: dict[str, dict[int, bytes]]
    calls: dict[str, _Call]
    rows: int

    @classmethod
    def read(cls, url: str) -> "Recorded":
        """As an administrator."""
        rows = asyncio.run(_rows(url))
        lines: defaultdict[str, dict[int, bytes]] = defaultdict(dict)
        calls: defaultdict[str, _Call] = defaultdict(_Call)
        for row in sorted(rows, key=lambda row: (row["writer"], row["seq"])):
            lines[row["writer"]][row["seq"]] = bytes(row["line"])
            if row["kind"] != "Event":
                continue
            call = calls[row["audit_id"]]
            call.stages.append(row["stage"])
            call.uri, call.verb = row["uri"], row["verb"]
            if row["stage"] in _TERMINAL:
                call.code, call.reason = row["code"], row["close_reason"]
        return cls(lines, calls, len(rows))


async def _rows(url: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return list(
            await connection.fetch(
                "SELECT writer, seq, kind, audit_id, stage, code, uri, verb, close_reason, line"
                " FROM kubewitness.events"
            )
        )
    finally:
        await connection.close()


def acknowledged(log: Path) -> list[tuple[str, str, int]]:
    """(audit id, target, status) of each call that was complete for its client."""
    found = []
    for line in log.read_text().splitlines():
        words = line.split()
        if words[0] == "A" and words[2] != "-" and int(words[3]) != REFUSED:
            found.append((words[2], words[1], int(words[3])))
    return found


def against_journals(recorded: Recorded, directories: list[Path], say: Violations) -> int:
    """Every line of every journal is in PostgreSQL, once, byte for byte, and nothing else is."""
    if recorded.rows != sum(map(len, recorded.lines.values())):
        say.say("PostgreSQL has a sequence of a writer twice")
    total, writers = 0, set[str]()
    for directory in directories:
        writer, lines = journal(directory)
        if writer in writers:
            say.say(f"{writer}: two journals have this writer")
        writers.add(writer)
        there = recorded.lines.get(writer, {})
        total += len(lines)
        if sorted(lines) != list(range(1, len(lines) + 1)):
            say.say(f"{writer}: its journal has gaps")
        missing, more = lines.keys() - there.keys(), there.keys() - lines.keys()
        if missing:
            say.say(f"{writer}: {len(missing)} records missing, the first is {min(missing)}")
        if more:
            say.say(f"{writer}: {len(more)} records more than its journal, from {min(more)}")
        for seq in sorted(lines.keys() & there.keys()):
            if lines[seq] != there[seq]:
                say.say(f"{writer} {seq}: another line than in its journal")
                break
    for writer in recorded.lines.keys() - writers:
        say.say(f"{writer}: in PostgreSQL, and nobody's journal")
    return total


def against_clients(recorded: Recorded, logs: list[Path], say: Violations) -> int:
    """Every acknowledged call is there with its intent and the outcome its client saw."""
    count = 0
    for log in logs:
        for audit_id, target, status in acknowledged(log):
            count += 1
            call = recorded.calls.get(audit_id)
            if call is None:
                say.say(f"{audit_id} {target}: acknowledged with {status}, not on record")
            elif call.stages[0] != "RequestReceived" or call.code != status or call.reason:
                say.say(
                    f"{audit_id} {target}: acknowledged with {status}, on record as "
                    f"{call.stages} {call.code} {call.reason}"
                )
    return count


def executed(effects: Path) -> Iterator[tuple[str, str, str]]:
    """(audit id, method, target) of each mutation that an API server executed."""
    with effects.open() as lines:
        for audit_id, method, target in map(str.split, lines):
            if method in _MUTATING and "Impersonate" not in target and audit_id != "-":
                yield audit_id, method, target


def against_effects(recorded: Recorded, effects: Path, say: Violations) -> int:
    """Every mutation that was executed has an intent."""
    count = 0
    for audit_id, method, target in executed(effects):
        count += 1
        call = recorded.calls.get(audit_id)
        if call is None or call.stages[0] != "RequestReceived":
            say.say(f"{audit_id} {method} {target}: executed without an intent")
    return count


def closed(recorded: Recorded, say: Violations) -> int:
    """Every call has one intent, first, and one terminal event, last. Returns the interrupted."""
    interrupted = 0
    for audit_id, call in recorded.calls.items():
        ends = [stage for stage in call.stages if stage in _TERMINAL]
        if len(ends) != 1 or call.stages[-1] != ends[0]:
            say.say(f"{audit_id} {call.uri}: ends as {call.stages}")
        if call.stages.count("RequestReceived") != 1:
            say.say(f"{audit_id} {call.uri}: {call.stages}")
        interrupted += call.reason == "interrupted"
    return interrupted


def against_kubectl(
    recorded: Recorded, applied: list[str], present: list[str], say: Violations
) -> None:
    """What kubectl was told is on record; what stands in its cluster has an intent."""
    wanted: defaultdict[str, list[_Call]] = defaultdict(list)
    for call in recorded.calls.values():
        if call.verb == "patch" and "/configmaps/kw-" in call.uri:
            wanted[call.uri.partition("/configmaps/")[2].partition("?")[0]].append(call)
    for name in applied:
        if not any(200 <= call.code < 300 for call in wanted[name]):
            say.say(f"{name}: kubectl applied it, no such outcome is on record")
    for name in present:
        if not wanted[name]:
            say.say(f"{name}: stands in the cluster, no intent is on record")

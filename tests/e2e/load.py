"""kubectl under way while something happens to the proxy, and what must be on record of it afterwards.

The records are read from the journals on the volumes by the fault rig's own reader, without the product's code.
"""

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.e2e.client import Client
from tests.faults.replicas_check import journal

TERMINAL = {"ResponseComplete", "Panic"}
MUTATING = {"create", "update", "patch", "delete", "deletecollection"}


class Load:
    """Threads that create ConfigMaps and read them back, one kubectl for each call."""

    def __init__(self, kubectl: Client, name: str, threads: int = 2) -> None:
        self.created: list[str] = []
        """Acknowledged to the client."""
        self.failures: list[str] = []
        self._kubectl = kubectl
        self._name = name
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(threads)
        ]

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """Under load from here on; every thread has ended afterwards."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _run(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            name = f"{self._name}-{number}-{count}"
            manager = f"--field-manager={name}"
            made = self._kubectl.run("create", "configmap", name, "--from-literal=a=b", manager)
            if made.code == 0:
                self.created.append(name)
                read = self._kubectl.run("get", "configmap", name, "-o", "name")
                if read.code:
                    self.failures.append(f"get {name}: {read.errors}")
            else:
                self.failures.append(f"create {name}: {made.errors}")
            count += 1


def recorded(volumes: Iterable[Path]) -> dict[str, list[dict[str, Any]]]:
    """Every call's events, by audit id, as the journals of the volumes have them."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for volume in volumes:
        for slot in sorted((volume / "data" / "journal").iterdir()):
            for line in journal(slot)[1].values():
                event = json.loads(line)
                if event["kind"] == "Event":
                    found[event["auditID"]].append(event)
    return found


def effects(audit_log: Path, account: str) -> dict[str, str]:
    """What the API server executed for the proxy's account: audit id → verb and URI of each change.

    Without its own questions: what it may do there.
    """
    found = {}
    for line in audit_log.read_text().splitlines():
        event = json.loads(line)
        ours = event["user"].get("username") == account and "impersonatedUser" in event
        if ours and event["verb"] in MUTATING:
            found[event["auditID"]] = f"{event['verb']} {event['requestURI']}"
    return found


def lost(
    created: Iterable[str], audit_log: Path, account: str, volumes: Iterable[Path]
) -> list[str]:
    """What of the promise was broken: nothing, it is hoped."""
    calls = recorded(volumes)
    acknowledged = Counter(
        filter(None, (_created(event) for call in calls.values() for event in call))
    )
    problems = [
        f"executed without an intent: {effect} ({audit_id})"
        for audit_id, effect in effects(audit_log, account).items()
        if audit_id not in calls
    ]
    for audit_id, events in calls.items():
        stages = Counter(event["stage"] for event in events)
        if stages["RequestReceived"] != 1 or sum(stages[stage] for stage in TERMINAL) != 1:
            problems.append(f"{audit_id} has the stages {dict(stages)}")
    return problems + [f"not on record: {name}" for name in created if acknowledged[name] != 1]


def _created(event: dict[str, Any]) -> str:
    """The name of the object that an outcome says was created. Bodies are not on record; the manager's name is."""
    if event["stage"] not in TERMINAL or event.get("responseStatus", {}).get("code") != 201:
        return ""
    query: dict[str, list[str]] = parse_qs(urlsplit(event["requestURI"]).query)
    return query.get("fieldManager", [""])[0]

"""`python -m tests.bench database`: how fast the index is filled and searched, at size.

Fills SQLite and PostgreSQL with the events of generated calls (`generate_events`), searches them
in every way people do (`queries`), writes DATABASE.md beside this file and the plan of each
statement below `explain/`. PostgreSQL is the one the tests bring, with fsync on.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from proxy.audit.index.indexer import Indexer
from proxy.audit.index.postgres import PostgresIndex
from proxy.audit.index.postgresql.upgrade import upgrading
from proxy.audit.index.query import Cursor, Filter
from proxy.audit.index.reading import Reader
from proxy.audit.index.shipping import Shipper
from proxy.audit.index.sqlite import SqliteIndex
from proxy.audit.index.store import Position
from proxy.clock import SystemClock
from proxy.metrics import Metrics
from proxy.runtime.process import prepare
from tests.bench import journal, machine
from tests.bench.explaining import listening, plans
from tests.bench.queries import CASES, MIDDLE
from tests.postgres import Postgres

HERE = Path(__file__).parent
STRETCH = 250_000
"""Events of which a rate is told."""
LIMIT = 100
ROUNDS = 30
"""Searches of each kind, unless told otherwise."""
TARGET_RATE = 20_000
TARGET_MS = 200.0


@dataclass
class Filled:
    """What came of filling one database."""

    database: str
    events: int
    seconds: float
    """Of draining a journal into the database, with all that the indexer checks on the way."""
    cpu: float
    """CPU seconds of our process meanwhile."""
    size: int
    """Bytes on disk."""
    load: float = 0.0
    """Processes of the whole machine that wanted a core, on average; ours are two to three."""
    rates: list[int] = field(default_factory=list)
    """Events a second in each stretch."""


@dataclass
class Searched:
    """Times of one case, in milliseconds."""

    title: str
    found: int
    first: list[float]
    deep: list[float]
    cpu: float = 0.0
    """Milliseconds of our CPU for one, at the median: what is left when others are in the way."""

    def slower(self) -> float:
        """The p95 of the page that is slower: one must not hide behind the other."""
        return max(p95(self.first), p95(self.deep))


def _drainer(index: Any, journals: Path) -> Indexer:
    clock, metrics = SystemClock(), Metrics()
    if isinstance(index, PostgresIndex):
        return Shipper(journals, index, clock=clock, metrics=metrics)
    return Indexer(journals, index, clock=clock, metrics=metrics)


class _Stretches:
    """What an index has committed, and how fast, stretch by stretch; waiting does not count."""

    def __init__(self, index: Any, name: str, done: Filled) -> None:
        self._name = name
        self._done = done
        self._told, self._of_stretch = 0, 0.0
        self._at = time.perf_counter()
        self.loads: list[float] = []
        insert = index.insert

        async def noted(rows: Any, writer: str, position: Position) -> None:
            await insert(rows, writer, position)
            self.add(len(rows))

        index.insert = noted

    def begin(self) -> None:
        """Time counts from here."""
        self._at = time.perf_counter()

    def add(self, events: int) -> None:
        """So many more are in."""
        now = time.perf_counter()
        self._done.seconds += now - self._at
        self._of_stretch += now - self._at
        self._at = now
        self._done.events += events
        if self._done.events - self._told >= STRETCH:
            rate = round((self._done.events - self._told) / self._of_stretch)
            self._done.rates.append(rate)
            self._told, self._of_stretch = self._done.events, 0.0
            self.loads.append(os.getloadavg()[0])
            print(f"{self._name:11} {self._told:12,} events {rate:8,}/s", flush=True)


async def fill(index: Any, name: str, events: int, size: Any, place: Path) -> Filled:
    """Drain a journal of about so many events; `size` tells the bytes on disk."""
    done = Filled(name, 0, 0.0, 0.0, 0)
    journals = place / "journal"
    stretches = _Stretches(index, name, done)
    drainer = _drainer(index, journals)
    with journal.growing(journals, events):
        whole = False
        while not whole:
            whole = journal.is_whole(journals)
            cpu = time.process_time()
            stretches.begin()
            if await drainer.catch_up():
                done.cpu += time.process_time() - cpu
            elif not whole:
                await asyncio.sleep(0.5)
    del index.insert
    done.rates = done.rates or [round(done.events / done.seconds)]
    done.load = statistics.mean(stretches.loads or [os.getloadavg()[0]])
    done.size = size()
    return done


async def search(
    index: Reader, title: str, given: Filter, rounds: int
) -> tuple[Searched, list[str]]:
    """Time one case on its first page and in the middle of time; and the plans behind it."""
    times: list[list[float]] = []
    spent = []
    found = 0
    for cursor in (None, Cursor(MIDDLE, "", 0)):
        some = []
        for _ in range(rounds):
            began, cpu = time.perf_counter(), time.process_time()
            page = await index.search(given, limit=LIMIT, cursor=cursor)
            some.append((time.perf_counter() - began) * 1000)
            spent.append((time.process_time() - cpu) * 1000)
            found = found or len(page.rows)
        times.append(some)
    with listening(index) as asked:
        await index.search(given, limit=LIMIT)
    result = Searched(title, found, times[0], times[1], statistics.median(spent))
    return result, await plans(index._engine, list(asked))


async def measure(index: Any, filled: Filled, rounds: int) -> list[Searched]:
    """All cases; writes the plans of this database."""
    results, text = (
        [],
        [f"The plans of each search on {filled.database}, {filled.events:,} events."],
    )
    for title, given in CASES.items():
        result, used = await search(index, title, given, rounds)
        results.append(result)
        text += ["", f"== {title}", *used]
        print(
            f"{filled.database:11} {title:32} {result.found:4} found"
            f"  p50 {statistics.median(result.first):7.1f} {statistics.median(result.deep):7.1f}"
            f"  p95 {p95(result.first):7.1f} {p95(result.deep):7.1f} ms"
            f"  CPU {result.cpu:7.1f} ms",
            flush=True,
        )
    path = HERE / "explain" / f"{filled.database.lower()}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return results


def p95(times: Sequence[float]) -> float:
    """The time that 95 of 100 stay below."""
    return statistics.quantiles(times, n=20, method="inclusive")[-1]


@asynccontextmanager
async def sqlite(place: Path) -> AsyncIterator[tuple[SqliteIndex, Any]]:
    """The index in a file."""
    path = place / "sqlite.db"
    index = await SqliteIndex.open(path)
    try:
        yield index, lambda: path.stat().st_size
    finally:
        await index.close()


@asynccontextmanager
async def postgresql(place: Path) -> AsyncIterator[tuple[PostgresIndex, Any]]:
    """The index in a PostgreSQL of its own, set up as an administrator would."""
    del place
    settings = {"shared_buffers": "512MB", "max_wal_size": "4GB"}
    with Postgres(settings=settings) as server:
        database = server.create_database()
        database.exec("CREATE ROLE app LOGIN PASSWORD 'app'")
        async with upgrading(database.url, ["app"], lambda _: None):
            pass
        index = await PostgresIndex.open(database.login("app", "app"))
        try:
            yield index, lambda: int(database.exec("SELECT pg_database_size(current_database())"))
        finally:
            await index.close()


DATABASES = {"SQLite": sqlite, "PostgreSQL": postgresql}


async def one(name: str, opened: Any, place: Path, events: int, rounds: int) -> None:
    """Fill and search one database; one that was filled and kept is searched only."""
    note = place / f"{name.lower()}.json"
    async with opened(place) as (index, size):
        if note.exists():
            filled = Filled(**json.loads(note.read_text(encoding="utf-8"))["filled"])
        else:
            filled = await fill(index, name, events, size, place)
        searched = await measure(index, filled, rounds)
        known = {"filled": asdict(filled), "searched": [asdict(case) for case in searched]}
        note.write_text(json.dumps(known), encoding="utf-8")


def known(place: Path) -> list[tuple[Filled, list[Searched]]]:
    """What was measured so far."""
    found = []
    for name in DATABASES:
        note = place / f"{name.lower()}.json"
        if note.exists():
            kept = json.loads(note.read_text(encoding="utf-8"))
            found.append((Filled(**kept["filled"]), [Searched(**one) for one in kept["searched"]]))
    return found


def summary(filled: Filled, searched: Sequence[Searched]) -> list[str]:
    """Promises, and what was measured."""
    rate = filled.events / filled.seconds
    slowest = max(searched, key=Searched.slower)
    worst = slowest.slower()

    def row_of(promise: str, measured: str, holds: bool) -> str:
        verdict = "holds" if holds else "**missed**"
        return f"| {filled.database}: {promise} | {measured} | {verdict} |"

    return [
        row_of(f"filled at ≥ {TARGET_RATE:,} events/s", f"{rate:,.0f}/s", rate >= TARGET_RATE),
        row_of(
            f"the slowest search, p95 ≤ {TARGET_MS:.0f} ms",
            f"{worst:.0f} ms ({slowest.title})",
            worst <= TARGET_MS,
        ),
    ]


def _circumstances(filled: Filled) -> str:
    if not filled.cpu:
        return "CPU and load were not noted"
    each = filled.cpu / filled.events * 1e6
    return f"{each:.0f} µs of our CPU each, mean load {filled.load:.1f} on {os.cpu_count()} cores"


def section(filled: Filled, searched: Sequence[Searched], day: str) -> list[str]:
    """All numbers of one database, measured on that day."""
    spread = [min(filled.rates), statistics.median(filled.rates), max(filled.rates)]
    first, last = (
        filled.rates[: len(filled.rates) // 5 or 1],
        filled.rates[-len(filled.rates) // 5 :],
    )
    text = [
        f"## {filled.database}: {filled.events:,} events",
        "",
        f"* Date: {day}",
        f"* {filled.size / 1e9:.1f} GB, {filled.size / filled.events:,.0f} bytes an event",
        (
            f"* filled at {filled.events / filled.seconds:,.0f} events/s"
            f" ({_circumstances(filled)});"
            f" stretches of {STRETCH:,}: slowest {spread[0]:,.0f}, median {spread[1]:,.0f},"
            f" fastest {spread[2]:,.0f}; first fifth {statistics.median(first):,.0f},"
            f" last fifth {statistics.median(last):,.0f}"
        ),
        "",
        "| search | found | first page p50 | p95 | deep page p50 | p95 | our CPU |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for case in searched:
        times = (case.first, case.deep)
        numbers = " | ".join(f"{statistics.median(one):.1f} | {p95(one):.1f}" for one in times)
        found = f"{case.found}+" if case.found == LIMIT else str(case.found)
        text.append(f"| {case.title} | {found} | {numbers} | {case.cpu:.1f} |")
    return text


class Half(NamedTuple):
    """What DATABASE.md says of one database: its rows of targets, and its section."""

    targets: list[str]
    section: list[str]


def halves(text: str) -> dict[str, Half]:
    """Both, as a former run wrote them."""
    head, *sections = text.split("\n## ")
    (day,) = re.findall(r"^\* Date: (.*)$", head, re.MULTILINE) or [""]
    found = {}
    for part in sections:
        name, _, _ = part.partition(":")
        title, blank, *lines = part.rstrip("\n").split("\n")
        if day:
            lines.insert(0, f"* Date: {day}")
        targets = [line for line in head.splitlines() if line.startswith(f"| {name}: ")]
        found[name] = Half(targets, [f"## {title}", blank, *lines])
    return found


def render(results: Sequence[tuple[Filled, list[Searched]]], former: str) -> str:
    """The whole of DATABASE.md; of a database that was not measured, what `former` says."""
    day = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%d %H:%M UTC")
    known = halves(former)
    for filled, searched in results:
        known[filled.database] = Half(summary(filled, searched), section(filled, searched, day))
    text = [
        "# Benchmark of the index",
        "",
        "Written by `python -m tests.bench database`; do not edit. Filling is the indexer (shipper)",
        "draining a journal on the disk in one process, on SQLite while another process, behind it in",
        f"priority, still writes that journal. Searching is one page of {LIMIT} calls through the",
        "index's own interface: the first, and one in the middle of 90 days, in milliseconds. Plans",
        "are in `explain/`.",
        "",
        f"* Machine: {machine.describe()}",
        "",
        "| target | measured |  |",
        "|---|---:|---:|",
    ]
    shown = [known[name] for name in DATABASES if name in known]
    for half in shown:
        text += half.targets
    for half in shown:
        text += ["", *half.section]
    return "\n".join(text) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; the exit code tells whether it ran, not whether targets hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench database", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--only",
        choices=("sqlite", "postgresql"),
        default="",
        help="measure one; the file keeps the other's numbers",
    )
    parser.add_argument("--keep", type=Path, help="a directory for the databases, used again")
    given = parser.parse_args(arguments)
    prepare()
    with tempfile.TemporaryDirectory(dir=machine.disk_work()) as work:
        place = given.keep or Path(work)
        for name, opened in DATABASES.items():
            if given.only in ("", name.lower()):
                asyncio.run(one(name, opened, place, given.events, given.rounds))
        results = known(place)
    file = HERE / "DATABASE.md"
    file.write_text(render(results, file.read_text(encoding="utf-8")), encoding="utf-8")
    for line in chain.from_iterable(summary(*result) for result in results):
        print(line)
    return 0

"""RESULTS.md: ratios first, then every number behind them."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.bench.measure import LOADS, WATCHES, Outcome

OURS = "kubewitness"
BARE = "kubewitness, no record"
GO = "Go ReverseProxy"
NGINX = "nginx"


@dataclass
class Results:
    """Outcomes by (load, contender), one for each round."""

    machine: str
    versions: str
    contenders: list[str] = field(default_factory=list)
    outcomes: dict[tuple[str, str], list[Outcome]] = field(default_factory=dict)
    watches: dict[str, float] = field(default_factory=dict)
    """KB for each idle watch."""
    busy: float = 0.0
    """Share of both cores' time that other processes of the machine took."""

    def median(self, load: str, contender: str, what: Callable[[Outcome], float]) -> float:
        """The median of the rounds."""
        return statistics.median(what(found) for found in self.outcomes[load, contender])

    def ratio(self, load: str, ours: str, peer: str, what: Callable[[Outcome], float]) -> float:
        """The median of the ratios within each round; what disturbs both cancels out."""
        pairs = zip(self.outcomes[load, ours], self.outcomes[load, peer], strict=True)
        return statistics.median(what(mine) / what(theirs) for mine, theirs in pairs)


@dataclass(frozen=True)
class Target:
    """One promise, and what was measured."""

    text: str
    measured: str
    holds: bool


def rate(outcome: Outcome) -> float:
    return outcome.rate


def megabytes(outcome: Outcome) -> float:
    return outcome.megabytes


def p50(outcome: Outcome) -> float:
    return outcome.p50


def p99(outcome: Outcome) -> float:
    return outcome.p99


def cpu(outcome: Outcome) -> float:
    return outcome.cpu


def targets(results: Results) -> list[Target]:
    """The promises, judged."""
    speed = results.ratio("get32", OURS, GO, rate)
    added = results.median("get1", OURS, p50) - results.median("get1", NGINX, p50)
    memory = results.watches[OURS]
    mutation = max(1 - results.ratio(load, OURS, BARE, rate) for load in ("patch32", "post32"))
    bulk = results.ratio("list", OURS, NGINX, megabytes)
    return [
        Target(
            "with the durable record ≥ 1.0x the Go proxy without any, 32 connections",
            f"{speed:.2f}x",
            speed >= 1.0,
        ),
        Target(
            "≤ 0.5 ms added over nginx, 1 connection (p50)", f"{added:.2f} ms added", added <= 0.5
        ),
        Target(
            "two records a mutation cost ≤ 30 % of its throughput, 32 connections",
            f"{mutation:.0%}",
            mutation <= 0.3,
        ),
        Target("≤ 100 KB per idle watch", f"{memory:.0f} KB", memory <= 100),
        Target("13 MB lists at ≥ 0.9x nginx", f"{bulk:.2f}x", bulk >= 0.9),
    ]


def render(results: Results, now: float, rounds: int) -> str:
    """The whole file."""
    day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    parts = [
        "# Benchmark results",
        "",
        "Written by `make bench`; do not edit. Everything runs side by side on one machine: the",
        "proxy under test has one core, the load generator and the API server stand-in share the",
        "other. TLS 1.3 with client certificates on both sides of every proxy (`kubectl proxy`",
        "has plain HTTP towards its client, and no impersonation). Medians of",
        f"{rounds} interleaved rounds. On another machine the numbers differ, the ratios hardly.",
        "",
        f"* Date: {day}",
        f"* Machine: {results.machine}",
        f"* Compared with: {results.versions}",
        f"* Other processes of the machine took {results.busy:.0%} of the cores meanwhile",
        "",
        "## Targets",
        "",
        *_table(
            ["target", "measured", ""],
            [[t.text, t.measured, "holds" if t.holds else "**missed**"] for t in targets(results)],
        ),
        "",
        "## Ratios",
        "",
        "Requests per second (MB/s for the list) relative to the plain Go proxy, which records",
        "nothing.",
        "",
        *_ratios(results),
        "",
        "## All numbers",
        "",
    ]
    for load in LOADS:
        parts += [f"### {load.title}", "", *_raw(results, load.name), ""]
    parts += [f"### Memory for each of {WATCHES:,} idle watches", ""]
    rows = [[name, f"{size:.0f}"] for name, size in results.watches.items()]
    parts += [*_table(["", "KB"], rows), ""]
    return "\n".join(parts)


def _ratios(results: Results) -> list[str]:
    rows = []
    for name in results.contenders:
        row = [name]
        for load in LOADS:
            what = megabytes if load.name == "list" else rate
            row.append(f"{results.ratio(load.name, name, GO, what):.2f}")
        rows.append(row)
    return _table(["", *(load.title for load in LOADS)], rows)


def _raw(results: Results, load: str) -> list[str]:
    rows = []
    for name in results.contenders:
        first = results.median(load, name, megabytes if load == "list" else rate)
        spent = results.median(load, name, cpu)
        rows.append(
            [
                name,
                f"{first:,.0f}",
                f"{results.median(load, name, p50):.2f}",
                f"{results.median(load, name, p99):.2f}",
                f"{spent:,.0f}" if spent else "-",
            ]
        )
    unit = "MB/s" if load == "list" else "requests/s"
    return _table(["", unit, "p50 ms", "p99 ms", "CPU µs per request"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = "|".join("---" if i == 0 else "---:" for i in range(len(head)))
    lines = [f"| {' | '.join(head)} |", f"|{rule}|"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]

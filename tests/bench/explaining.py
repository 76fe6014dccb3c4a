"""The plans of the statements behind each search, as text to keep beside the numbers."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine

from proxy.audit.index.asking import ASKED
from proxy.audit.index.reading import Reader

Asked = list[tuple[str, Any]]


@contextmanager
def listening(index: Reader) -> Iterator[Asked]:
    """Notes every statement of searches and its parameters."""
    asked: Asked = []
    engine = index._engine
    index._engine = engine.execution_options(
        **{ASKED: lambda statement, parameters: asked.append((statement, parameters))}
    )

    def note(_c: object, _r: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.lstrip().startswith("SELECT"):
            asked.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        index._engine = engine
        event.remove(engine.sync_engine, "before_cursor_execute", note)


async def plans(engine: AsyncEngine, asked: Asked) -> list[str]:
    """The different plans of these statements, in order, each with how often it was used."""
    found: Counter[str] = Counter()
    async with engine.connect() as connection:
        for statement, parameters in asked:
            found[await connection.run_sync(_plan, statement, parameters)] += 1
    return [f"{count} x\n{plan}" for plan, count in found.items()]


def _plan(connection: Connection, statement: str, parameters: Any) -> str:
    if connection.dialect.name == "sqlite":
        found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        lines = [f"  {row[3]}" for row in found]
    else:
        found = connection.exec_driver_sql(f"EXPLAIN (COSTS OFF) {statement}", parameters)
        lines = [f"  {row[0]}" for row in found]
    text = "\n".join(lines)
    # What differs from run to run says nothing: numbers, arrays, the day of a partition.
    text = re.sub(r"'[^']*'", "'…'", text)
    text = re.sub(r"(on |using )events_\w+( events_\d+)?", r"\1events_DAY", text)
    text = re.sub(r"\bevents(_\d+)?\.", "events.", text)
    return re.sub(r"\b\d+\b", "N", _once_each(text))


def _once_each(text: str) -> str:
    """Plans of partitions say the same many times: each different one is told once."""
    told: list[str] = []
    steps = re.split(r"\n(?=\s+->)", text)
    for step in steps:
        if step not in told:
            told.append(step)
    return "\n".join(told)

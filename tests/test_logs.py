"""Logging: readable or JSON, and never a local variable, because those hold tokens and keys."""

import io

import pytest
import structlog

from proxy import logs
from proxy.logs import Format


def fail() -> None:
    token = "canary-of-a-token"
    raise ValueError(f"refused after {len(token)} characters")


@pytest.mark.parametrize("fmt", ["console", "json"])
def test_a_traceback_shows_no_local_variables(fmt: Format) -> None:
    out = io.StringIO()
    logs.configure("info", fmt, out)
    try:
        fail()
    except ValueError as error:
        structlog.get_logger("x").error("task failed", exc_info=error)
    shown = out.getvalue()
    assert "refused after 17 characters" in shown
    assert "Traceback" in shown
    # The line of code may be shown; the value of the variable must not be.
    assert shown.count("canary-of-a-token") == 0


@pytest.mark.parametrize(("level", "seen"), [("info", True), ("warning", False)])
def test_the_level_is_the_quietest_shown(level: logs.Level, seen: bool) -> None:
    out = io.StringIO()
    logs.configure(level, "json", out)
    structlog.get_logger("x").info("hello", n=1)
    assert ('"n": 1' in out.getvalue()) is seen

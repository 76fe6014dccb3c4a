"""Bars of progress: what they show on a terminal, and nothing elsewhere."""

import io

import pytest
from rich.console import Console

from proxy.cli import progress
from proxy.cli.progress import bars


def test_nothing_is_drawn_into_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with bars() as told:
        told("records", 1, 2)
        told("records", 2, 2)
    captured = capsys.readouterr()
    assert (captured.out, captured.err.strip()) == ("", "")


def test_each_step_has_a_bar_of_its_own_that_follows_its_total(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = io.StringIO()
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(file=drawn, force_terminal=True, width=100)
    )
    with bars() as told:
        told("records", 5, 0)
        told("records", 5, 10)
        told("partitions", 3, 3)
    said = drawn.getvalue()
    assert "records" in said
    assert "50%" in said
    assert "partitions" in said
    assert "100%" in said

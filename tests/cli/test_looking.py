"""Looks at the log: page by page up to a limit, and what is missing is said."""

import pytest

from proxy.cli.looking import Found, look, say_behind, say_what_is_missing
from tests.control.plane import Plane


@pytest.fixture
def ids(plane: Plane) -> list[str]:
    """Calls on record, the newest first."""
    return [plane.call() for _ in range(5)][::-1]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("size", [1, 2, 500])
def test_so_many_whatever_the_size_of_a_page(
    plane: Plane, ids: list[str], limit: int, size: int
) -> None:
    found = look(plane.client(), "/audit/calls", {"user": ["alice"]}, limit, size=size)
    assert [item["auditID"] for item in found.items] == ids[:limit]
    assert (found.more, found.complete) == (limit < 5, True)


def test_what_is_missing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    say_what_is_missing(Found([], more=False, complete=True), 5)
    assert capsys.readouterr() == ("", "")
    say_what_is_missing(Found([], more=True, complete=False), 5, "sessions")
    out, err = capsys.readouterr()
    assert out == ""
    assert "the latest sessions may be missing" in err
    assert "--limit 50" in err
    say_behind()
    assert "the latest calls may be missing" in capsys.readouterr().err

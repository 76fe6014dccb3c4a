"""Queries and paths as Go's net/url reads them."""

from __future__ import annotations

import pytest

from proxy.kube.go_url import MAX_PARAMETERS, BrokenEscape, first_values, unescape_path

WANTED = frozenset({"watch", "limit"})


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("", {}),
        ("watch", {"watch": ""}),
        ("watch=", {"watch": ""}),
        ("watch=a&watch=b", {"watch": "a"}),
        ("watch=a=b", {"watch": "a=b"}),
        ("watch=a+b%2B", {"watch": "a b+"}),
        ("w%61tch=1", {"watch": "1"}),
        ("w%61tc=1&x%62=1&a+b=2", {}),
        ("watch%=1&watch%zz=1", {}),
        ("watch=%zz&watch=2", {"watch": "2"}),
        ("watch=1;x=1&limit=5", {"limit": "5"}),
        (";watch=1&w%61tch;=1", {}),
        ("&&watch=1&&", {"watch": "1"}),
        ("other=1&limit=5", {"limit": "5"}),
        ("watch=%ff", {"watch": "\udcff"}),
        ("a&" * (MAX_PARAMETERS - 1) + "watch=1", {"watch": "1"}),
        ("a&" * MAX_PARAMETERS + "watch=1", {}),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
def test_first_values(query: str, values: dict[str, str]) -> None:
    assert first_values(query, WANTED) == values


@pytest.mark.parametrize(
    ("path", "decoded"),
    [("/a+b", "/a+b"), ("/%61", "/a"), ("/%2F", "//"), ("/%C3%a9é", "/éé"), ("/%00", "/\x00")],
)
def test_unescape_path(path: str, decoded: str) -> None:
    assert unescape_path(path) == decoded


@pytest.mark.parametrize("path", ["%", "/a%", "/%4", "/%zz", "/%%41"])
def test_broken_escapes(path: str) -> None:
    with pytest.raises(BrokenEscape):
        unescape_path(path)

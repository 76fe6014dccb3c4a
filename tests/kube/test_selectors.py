"""Selector grammar as apimachinery parses it; expected values come from its own code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.kube.selectors import InvalidSelector, is_integer, is_label_selector, required_value


@pytest.mark.parametrize(
    "selector",
    [
        "",
        " \t",
        "a",
        "!a",
        " ! a , b ",
        "a=b",
        "a==b",
        "a!=b",
        "a=",
        "a=,b",
        "a = b , c == d",
        "in",
        "in in (in, notin)",
        "notin",
        "a in (b)",
        "a in(b)",
        "a notin ()",
        "a in ( b , , c )",
        "a in (,)",
        "a>1",
        "a < 009",
        "x.y/z",
        "x.y/Z_9.-a=V_9.-a",
        "a" * 63,
        "b" * 253 + "/a",
    ],
)
def test_label_selectors(selector: str) -> None:
    assert is_label_selector(selector)


@pytest.mark.parametrize(
    "selector",
    [
        ",",
        "a,",
        ",a",
        "a,,b",
        "!",
        "!!a",
        "!a=b",
        "a b",
        "a in",
        "a in b",
        "a in (b",
        "a in (b c)",
        "a in (b) c",
        "ain (b)",
        "(a)",
        "a=(b)",
        "a=!b",
        "a===b",
        "a=>1",
        "a>",
        "a>b",
        "a>-1",
        "a>99999999999999999999",
        "-a",
        "a-",
        "a/",
        "/a",
        "x./a",
        "X.y/a",
        "a/b/c",
        "a=é",
        "a=" + "b" * 64,
        "a" * 64,
        "b" * 254 + "/a",
    ],
)
def test_not_label_selectors(selector: str) -> None:
    assert not is_label_selector(selector)


@pytest.mark.parametrize(
    ("selector", "value"),
    [
        ("", ""),
        ("f=a", "a"),
        ("f==a", "a"),
        ("f!=a", ""),
        ("g=b,f=a", "a"),
        ("f=b,f=a", "a"),
        (",,f=a,", "a"),
        (r"f=a\,b\=c\\d", r"a,b=c\d"),
        ("f=", ""),
        ("=f", ""),
    ],
)
def test_required_value(selector: str, value: str) -> None:
    assert required_value(selector, "f") == value


@pytest.mark.parametrize("selector", ["a", "f=a,b", "f=a=b", "f=a\\", r"f=\x", "g=a=b,f=a"])
def test_broken_field_selectors(selector: str) -> None:
    with pytest.raises(InvalidSelector):
        required_value(selector, "f")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", True),
        ("-9223372036854775808", True),
        ("9223372036854775808", False),
        ("+7", True),
        ("0" * 100_000 + "7", True),
        ("9" * 100_000, False),
        ("", False),
        ("1_0", False),
        (" 1", False),
        ("0x1", False),
        ("٣", False),
    ],
)
def test_integers(text: str, expected: bool) -> None:
    assert is_integer(text) is expected


@given(st.text("a/.-!=(),<>in \t\\", max_size=30))
def test_any_text_gets_an_answer(selector: str) -> None:
    is_label_selector(selector)
    try:
        required_value(selector, "a")
    except InvalidSelector:
        return


def test_hostile_selectors_cost_linear_time() -> None:
    for piece in ("a,", "a=b,", "!", "a in (b),", "(", "a.", "\\,", "a" * 64 + ",", " "):
        selector = piece * 50_000
        is_label_selector(selector)
        is_label_selector("a." * 50_000 + "/" + selector)
        try:
            required_value("f=" + selector, "f")
        except InvalidSelector:
            continue

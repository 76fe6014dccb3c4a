import pytest

from proxy.errors import InvalidInputError
from proxy.pki.ttl import format_ttl, parse_ttl


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("8h", 28_800),
        ("30d", 2_592_000),
        ("90m", 5_400),
        ("1h30m", 5_400),
        ("1d2h3m4s", 93_784),
        (" 5s ", 5),
    ],
)
def test_reads(text: str, seconds: int) -> None:
    assert parse_ttl(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8",
        "h",
        "8H",
        "8 h",
        "-8h",
        "1.5h",
        "8h8h",
        "30m1h",
        "0h",
        "8hours",
        "99999999d",
        "٣h",
        "8h\n9",
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(InvalidInputError, match="lifetime"):
        parse_ttl(text)


@pytest.mark.parametrize("text", ["8h", "30d", "1h30m", "1d2h3m4s", "5s"])
def test_writes_what_it_reads(text: str) -> None:
    assert format_ttl(parse_ttl(text)) == text


def test_nothing_is_zero_seconds() -> None:
    assert format_ttl(0.5) == "0s"

"""Texts, ends and pages, as bodies and queries have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.clock import rfc3339
from proxy.control.entry.fields import (
    PagedQuery,
    page,
    page_of_seen,
    parse_end,
    read_cursor,
    read_place,
    write_cursor,
    write_place,
)
from proxy.errors import InvalidInputError

NOW = 1_800_000_000.0


@given(st.lists(st.text(), unique=True), st.integers(1, 7))
def test_pages_are_the_list_whatever_their_size(names: list[str], limit: int) -> None:
    names, seen, cursor = sorted(names), list[str](), ""
    while True:
        shown, cursor = page(names, lambda name: (name,), PagedQuery(limit=limit, cursor=cursor))
        assert len(shown) <= limit
        seen += shown
        if not cursor:
            break
    assert seen == names


def test_what_is_added_or_removed_meanwhile_shifts_nothing() -> None:
    first, cursor = page(["a", "c", "e"], lambda name: (name,), PagedQuery(limit=2))
    assert first == ("a", "c")
    rest, _ = page(["b", "d", "e"], lambda name: (name,), PagedQuery(limit=2, cursor=cursor))
    assert rest == ("d", "e")


@given(st.tuples(st.text(), st.text()))
def test_a_cursor_says_where(key: tuple[str, str]) -> None:
    assert read_cursor(write_cursor(key)) == key


@pytest.mark.parametrize("text", ["x", "ä", "e30", "WzFd", "_", "====", "bnVsbA"])
def test_what_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidInputError, match="not a cursor"):
        read_cursor(text)


@pytest.mark.parametrize("key", [("a",), ("x", "id"), ("1", "a", "b")])
def test_a_cursor_of_another_list_is_refused(key: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInputError, match="not a cursor"):
        read_place(write_cursor(key))


@given(st.floats(0, 4e9), st.text())
def test_a_place_keeps_every_digit(made: float, identity: str) -> None:
    assert read_place(write_place((made, identity))) == (made, identity)


@given(st.integers(0, 300), st.integers(1, 100), st.integers(1, 150))
async def test_pages_of_what_is_seen_are_all_of_it(size: int, limit: int, every: int) -> None:
    items = [(float(number), str(number)) for number in reversed(range(size))]

    async def read(*, after: tuple[float, str] | None, limit: int) -> list[tuple[float, str]]:
        return [item for item in items if after is None or item < after][:limit]

    def is_seen(item: tuple[float, str]) -> bool:
        return item[0] % every == 0

    found, cursor = list[tuple[float, str]](), ""
    while True:
        query = PagedQuery(limit=limit, cursor=cursor)
        shown, cursor = await page_of_seen(read, is_seen, lambda item: item, query)
        assert len(shown) == limit or not cursor
        found += shown
        if not cursor:
            break
    assert found == list(filter(is_seen, items))


@pytest.mark.parametrize(
    ("text", "end"),
    [("30d", NOW + 30 * 86_400), ("1h30m", NOW + 5400), (rfc3339(NOW + 5), NOW + 5)],
)
def test_an_end_is_a_moment_or_a_time_from_now(text: str, end: float) -> None:
    assert parse_end(text, NOW) == pytest.approx(end)


@pytest.mark.parametrize("text", ["2020-01-01", "soon", "0s", "-1h", "", "now"])
def test_what_is_no_end(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_end(text, NOW)

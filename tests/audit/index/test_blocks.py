"""Blocks: what they post, and when they are full."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audit.index.blocks import (
    BITMAP,
    BLOCK,
    RUN,
    BlockBuilder,
    Field,
    decode,
    encode,
    part_places,
    parts_by_run,
    run_times,
    whole_runs,
)
from proxy.audit.index.rows import EVENT, Row, join_groups

PLACES = st.sets(st.integers(0, BLOCK - 1), max_size=3000)


def a_row(seq: int, **given: Any) -> Row:
    return Row("w", seq, EVENT)._replace(at=seq * 10, uri=f"/api/{seq}", **given)


def posted(rows: list[Row]) -> dict[tuple[Field, bytes], set[int]]:
    """What the first block of these rows posts, pieces aside."""
    (block,) = BlockBuilder("w", 0).add([*rows, a_row(BLOCK)])
    assert not {len(item.bits) for item in block.postings if item.field == Field.PIECES} - {1024}
    return {
        (Field(item.field), item.value): set(part_places(decode(item.bits)))
        for item in block.postings
        if item.field != Field.PIECES
    }


@given(places=PLACES)
def test_places_are_kept_in_the_shorter_form(places: set[int]) -> None:
    bits = encode(sorted(places))
    assert len(bits) <= 1 + BITMAP
    assert len(places) > 32 or len(bits) == 1 + 2 * len(places)
    assert set(part_places(decode(bits))) == places
    again = [first + p for _, first, part in parts_by_run(decode(bits)) for p in part_places(part)]
    assert again == sorted(places)


def test_whole_runs() -> None:
    assert set(part_places(whole_runs(0b101))) == {*range(RUN), *range(2 * RUN, 3 * RUN)}


@pytest.mark.parametrize(
    ("given_row", "field", "values"),
    [
        ({"username": "alice"}, Field.USER, {b"alice"}),
        ({"username": "x" * 300}, Field.USER, {b"x" * 256}),
        ({"user_groups": join_groups(("a", "b\nc"))}, Field.GROUP, {b"a", b"b\\nc"}),
        ({"user_groups": ""}, Field.GROUP, set()),
        ({"user_groups": join_groups(("",))}, Field.GROUP, {b""}),
        ({"suspicious": join_groups(("x", "y"))}, Field.SUSPICIOUS, {b"x", b"y"}),
        ({"suspicious": ""}, Field.SUSPICIOUS, set()),
        ({"code": 7}, Field.CODE, {b"007"}),
        ({"code": None}, Field.CODE, set()),
        ({"code": 10_000}, Field.CODE, set()),
        ({"resource": "pods"}, Field.RESOURCE, {b"pods"}),
        (
            {"resource": "jobs", "subresource": "status", "api_group": "batch"},
            Field.RESOURCE,
            {b"jobs", b"jobs/status", b"jobs.batch"},
        ),
        ({"noise": True}, Field.NOISE, {b"1"}),
        ({"namespace": ""}, Field.NAMESPACE, {b""}),
        ({"credential": "a1"}, Field.CREDENTIAL, {b"a1"}),
        ({"reason": ""}, Field.REASON, {b""}),
    ],
)
def test_what_is_posted_of_a_row(
    given_row: dict[str, object], field: Field, values: set[bytes]
) -> None:
    found = posted([a_row(5, **given_row)])
    assert {value for of, value in found if of == field} == values
    assert all(places == {5} for places in found.values())


def test_values_that_are_cut_to_the_same_share_their_places() -> None:
    found = posted([a_row(1, name="n" * 256 + "a"), a_row(2, name="n" * 256 + "b")])
    assert found[Field.NAME, b"n" * 256] == {1, 2}


def test_only_what_is_the_last_word_is_posted() -> None:
    found = posted([a_row(1, terminal=False), a_row(2)])
    assert found[Field.NOISE, b"0"] == {2}


def test_a_block_is_full_with_its_last_row_or_when_a_later_one_comes() -> None:
    builder = BlockBuilder("w", 0)
    assert builder.add([a_row(seq) for seq in range(1, 10)]) == []
    assert builder.add([a_row(3), a_row(9)]) == []  # told again
    (first,) = builder.add([a_row(BLOCK - 1)])
    assert (first.first, first.oldest, first.newest) == (0, 10, (BLOCK - 1) * 10)
    assert sorted(run for run, _ in first.texts) == [0, BLOCK // RUN - 1]
    assert run_times(first.runs)[0] == (10, 90)
    # A journal with a hole: the blocks within it are not there.
    assert builder.add([a_row(BLOCK + 1)]) == []
    (second,) = builder.add([a_row(5 * BLOCK + 2)])
    assert (second.first, builder.first) == (BLOCK, 5 * BLOCK)


def test_a_block_without_a_last_word_is_one_all_the_same() -> None:
    (block,) = BlockBuilder("w", 0).add([a_row(1, terminal=False), a_row(BLOCK)])
    assert (block.first, block.postings, block.texts) == (0, [], [])

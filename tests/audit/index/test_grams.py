"""Pieces and packed texts never say that something is not there when it is."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.audit.index.grams import (
    SLOTS_A_SLICE,
    WORD,
    pack,
    places_with,
    slices,
    slots_of,
    wanted_slots,
)

TEXT = st.text(alphabet="abcABC/é-\U0001f600 %", max_size=30)
EVENTS = st.lists(st.tuples(TEXT, TEXT, TEXT, TEXT), min_size=1, max_size=8)


@given(events=EVENTS, data=st.data())
def test_a_part_of_any_text_has_slots_that_its_run_has(
    events: list[tuple[str, ...]], data: st.DataObject
) -> None:
    text = data.draw(st.sampled_from([text for event in events for text in event]))
    begin = data.draw(st.integers(0, len(text)))
    part = text[begin : data.draw(st.integers(begin, len(text)))]
    has = slots_of(events)
    for slot, width in wanted_slots(part):
        assert has & set(range(slot, slot + width))


@given(events=EVENTS, text=TEXT.filter(bool))
def test_packed_texts_tell_the_places_of_a_text(events: list[tuple[str, ...]], text: str) -> None:
    def fold(given: str) -> str:
        return "".join(c.lower() if c.isascii() else c for c in given)

    expected = sum(
        1 << place
        for place, texts in enumerate(events)
        if any(fold(text) in fold(one) for one in texts)
    )
    assert places_with(pack(events), text) == expected


def test_slices_hold_a_bit_for_each_run() -> None:
    runs = [{0, 200}, set(), {200, 65_535}]
    found = dict(slices(runs))
    assert set(found) == {0, 200 // SLOTS_A_SLICE, 511}
    for slot, word in ((0, 0b001), (200, 0b101), (65_535, 0b100), (1, 0)):
        part = found[slot // SLOTS_A_SLICE]
        at = slot % SLOTS_A_SLICE * WORD
        assert int.from_bytes(part[at : at + WORD], "little") == word


def test_a_short_text_asks_for_nothing_and_a_long_one_for_a_dozen() -> None:
    assert wanted_slots("ab") == []
    assert len(wanted_slots("abc")) == 1
    assert 6 <= len(wanted_slots("".join(map(chr, range(97, 122))) * 9)) <= 12
    assert wanted_slots("PODS") == wanted_slots("pods")

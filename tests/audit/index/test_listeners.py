"""Listeners: each hears what it asked for, in order; the slow are told what they missed."""

from proxy.audit.index.listeners import Listeners, Missed
from proxy.audit.index.query import Filter
from proxy.audit.index.rows import Row


def rows(*seqs: int, user: str = "alice") -> list[Row]:
    return [Row("w", seq, "Event", username=user) for seq in seqs]


async def test_each_hears_what_it_asked_for() -> None:
    listeners = Listeners()
    assert not listeners.present.is_set()
    with (
        listeners.join(None, 10) as everything,
        listeners.join(Filter(users=("bob",)), 10) as bobs,
    ):
        assert listeners.present.is_set()
        listeners.tell(rows(1, 2))
        listeners.tell(rows(3, user="bob"))
        heard = [await anext(everything) for _ in range(3)]
        assert [row.seq for row in heard if isinstance(row, Row)] == [1, 2, 3]
        only = await anext(bobs)
        assert isinstance(only, Row)
        assert only.seq == 3
    assert not listeners.present.is_set(), "nobody is left"
    listeners.tell(rows(4))


async def test_the_slow_are_told_what_they_missed() -> None:
    listeners = Listeners()
    with listeners.join(None, 2) as slow:
        listeners.tell(rows(1, 2, 3, 4, 5))
        assert await anext(slow) == Missed(3)
        assert [await anext(slow) for _ in range(2)] == rows(4, 5)

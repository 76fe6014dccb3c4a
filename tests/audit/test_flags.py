"""The words of what is out of the ordinary."""

from proxy.audit.flags import Flag, joined
from proxy.metrics import FLAGS


def test_words_are_kept_apart_by_commas() -> None:
    assert joined([Flag.NEW_ADDRESS, Flag.NEW_NETWORK]) == "new-address,new-network"
    assert not any("," in flag or " " in flag for flag in Flag)


def test_each_is_counted_from_the_start() -> None:
    assert sorted(FLAGS) == sorted(Flag)

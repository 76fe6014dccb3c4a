"""The words for what somebody may do: stored and shown, so they are one shape and never alike."""

import re

from proxy.state.permission import Permission


def test_each_word_is_a_noun_and_what_is_done_to_it() -> None:
    assert all(re.fullmatch(r"[a-z]+\.[a-z-]+", word) for word in Permission)

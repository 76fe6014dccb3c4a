"""What an act leaves in the record is bounded, encodable, and says through what it came."""

import pytest

from proxy.audit.acts import why
from proxy.control.entry.reading import LINE_LIMIT
from proxy.control.entry.recording import clean, done, not_done, through
from proxy.errors import DeniedError, NotFoundError, UnavailableError


@pytest.mark.parametrize(
    ("agent", "via"),
    [
        ("kubewitness/1.0", "cli"),
        ("Mozilla/5.0 (X11)", "dashboard"),
        ("curl/8", "api"),
        ("", "api"),
        ("cli (local)", "api"),
    ],
)
def test_through_what(agent: str, via: str) -> None:
    assert through(agent) == {"agent": agent, "via": via}


def test_text_of_a_client_is_bounded_and_can_be_encoded() -> None:
    assert clean("\udcff") == "\\xff"
    assert clean("x" * (LINE_LIMIT + 1)) == "x" * LINE_LIMIT + "…"
    assert clean("ü") == "ü"


def test_how_an_act_ended() -> None:
    assert why(DeniedError("You may not.", hint="Ask.")) == "denied: You may not."
    assert why(NotFoundError("There is none.")) == "failed: There is none."
    assert why(ValueError("hunter2")) == "failed: internal error"


def test_the_difference_between_not_done_and_not_told() -> None:
    unrecorded = UnavailableError("no space")
    assert str(not_done(unrecorded)).startswith("Nothing was done")
    assert "look before you repeat it" in str(done(unrecorded))

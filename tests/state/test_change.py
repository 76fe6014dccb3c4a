import pytest

from proxy.errors import PreconditionError
from proxy.state.change import check_expected


@pytest.mark.parametrize("expected", [None, 7])
def test_what_was_seen_as_it_is_may_be_changed(expected: int | None) -> None:
    check_expected("User 'rob'", 7, expected)


@pytest.mark.parametrize("expected", [0, 6, 8])
def test_what_was_not_may_not(expected: int) -> None:
    with pytest.raises(PreconditionError, match=rf"'rob' was .* at version 7, not {expected}"):
        check_expected("User 'rob'", 7, expected)

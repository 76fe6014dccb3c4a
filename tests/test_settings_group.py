"""Groups of settings: nothing unknown is taken, and nothing changes afterwards."""

import pytest
from pydantic import Field, ValidationError

from proxy.settings_group import Group


class Some(Group):
    number: int = Field(default=1, description="A number.")


def test_nothing_unknown_is_taken() -> None:
    with pytest.raises(ValidationError, match="other"):
        Some.model_validate({"other": 1})


def test_nothing_changes_afterwards() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Some().number = 2

"""What errors say, and what they tell to do."""

from proxy.errors import KubewitnessError, NotFoundError, not_found


def test_what_is_not_found_is_said_in_one_way() -> None:
    error = not_found("user", "rob")
    assert isinstance(error, NotFoundError)
    assert str(error) == "There is no user 'rob'. `kubewitness user list` shows those there are."
    more = not_found("group", "dev", "; `kubewitness group add dev` makes it")
    assert more.hint == (
        "`kubewitness group list` shows those there are; `kubewitness group add dev` makes it."
    )


def test_a_name_cannot_write_lines_of_its_own() -> None:
    assert "\n" not in not_found("user", "rob\nThere is a user").message


def test_without_a_hint_there_is_the_message_alone() -> None:
    assert str(KubewitnessError("It broke.")) == "It broke."

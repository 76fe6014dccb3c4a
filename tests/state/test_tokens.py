import msgspec
import pytest

from proxy.errors import InvalidInputError
from proxy.state.access import Scope, ScopeKind
from proxy.state.tokens import MAX_LIFE, check_token
from tests.state.people import token


@pytest.mark.parametrize("life", [0.1, MAX_LIFE])
def test_a_year_at_most(life: float) -> None:
    check_token(token("t1", 1000.0, life=life), 1000.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"secret_sha256": "the secret itself"},
        {"secret_sha256": "AB" * 32},
        {"not_after": 1000.0},
        {"not_after": 1001.0 + MAX_LIFE},
        {"scope": Scope(ScopeKind.CLUSTER)},
        {"reason": "x" * 1001},
    ],
    ids=str,
)
def test_what_is_refused(wrong: dict[str, object]) -> None:
    item = msgspec.structs.replace(token("t1", 1000.0), **wrong)
    with pytest.raises(InvalidInputError) as caught:
        check_token(item, 1000.0)
    assert "the secret itself" not in str(caught.value)

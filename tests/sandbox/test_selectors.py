import pytest

from proxy.sandbox import selectors
from proxy.sandbox.failures import ApiError

ITEM = {
    "metadata": {"name": "web", "labels": {"app": "web", "tier": "front"}},
    "spec": {"nodeName": "n1", "hostNetwork": True},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app=db", False),
        ("app!=db", True),
        ("none!=x", True),
        ("none=x", False),
        ("app", True),
        ("!app", False),
        ("!none", True),
        ("app in (web, db)", True),
        ("app in (db)", False),
        ("app notin (db)", True),
        ("none notin (db)", True),
        ("app notin (web)", False),
        ("app=web,tier in (front,back),!old", True),
        ("app=web,tier=back", False),
    ],
)
def test_label_selectors(text: str, expected: bool) -> None:
    assert selectors.labels(text)(ITEM) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metadata.name=web", True),
        ("metadata.name!=web", False),
        ("spec.nodeName==n1,metadata.name=web", True),
        ("spec.nodeName=", False),
        ("status.phase=", True),
        ("spec.hostNetwork=true", True),
        (r"metadata.name=we\,b", False),
    ],
)
def test_field_selectors(text: str, expected: bool) -> None:
    assert selectors.fields(text)(ITEM) is expected


def test_escapes_in_field_values() -> None:
    assert selectors.fields(r"spec.x=a\,b\=c")({"spec": {"x": "a,b=c"}})


@pytest.mark.parametrize("text", ["a in b", "a=b=c", "=x", "a in (b"])
def test_bad_label_selectors_are_refused(text: str) -> None:
    with pytest.raises(ApiError, match="label selector"):
        selectors.labels(text)


def test_bad_field_selectors_are_refused() -> None:
    with pytest.raises(ApiError, match="invalid field selector"):
        selectors.fields("metadata.name")


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [
        ("In", ["web"], True),
        ("NotIn", ["web"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
    ],
)
def test_selector_objects(operator: str, values: list[str], expected: bool) -> None:
    rule = {"key": "app", "operator": operator, "values": values}
    assert selectors.matches({"matchExpressions": [rule]}, {"app": "web"}) is expected

import json

import pytest

from proxy.errors import InvalidInputError
from proxy.pki.exec_credential import check_exec_info, exec_credential


def test_the_answer_is_what_client_go_reads() -> None:
    assert json.loads(exec_credential(b"CERT", b"KEY", 1_800_000_000.9)) == {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {
            "expirationTimestamp": "2027-01-15T08:00:00Z",
            "clientCertificateData": "CERT",
            "clientKeyData": "KEY",
        },
    }


@pytest.mark.parametrize(
    "value",
    [
        None,
        '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false}}',
        '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential"}',
    ],
)
def test_answers(value: str | None) -> None:
    check_exec_info(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "is not an ExecCredential"),
        ("[]", "is not an ExecCredential"),
        ('{"kind":"ExecCredential"}', "is not an ExecCredential"),
        (
            '{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential"}',
            "v1beta1",
        ),
        ('{"apiVersion":"client.authentication.k8s.io/v1","kind":"Pod"}', "Pod"),
    ],
)
def test_refuses(value: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_exec_info(value)

"""The exec-plugin protocol of client-go, seen from the plugin: the part without I/O.

kubectl starts the plugin with `KUBERNETES_EXEC_INFO` in its environment and reads an
ExecCredential from its output (kubernetes.io, "client-go credential plugins").
"""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from proxy.errors import InvalidInputError

API_VERSION: Final = "client.authentication.k8s.io/v1"
ENVIRONMENT: Final = "KUBERNETES_EXEC_INFO"


class _ExecInfo(msgspec.Struct, rename="camel"):
    api_version: str
    kind: str
    spec: dict[str, Any] = {}


def check_exec_info(value: str | None) -> None:
    """Refuse to answer a caller that would not understand the answer.

    `value` is the environment variable, None when it is not set (a person trying the command by
    hand, who gets the answer too). Raises InvalidInputError when it is malformed or asks for
    another version.
    """
    if value is None:
        return
    try:
        info = msgspec.json.decode(value, type=_ExecInfo)
    except msgspec.DecodeError as error:
        raise InvalidInputError(f"{ENVIRONMENT} is not an ExecCredential: {error}.") from error
    if info.kind != "ExecCredential" or info.api_version != API_VERSION:
        raise InvalidInputError(
            f"{ENVIRONMENT} asks for {info.api_version} {info.kind}; this command answers {API_VERSION}.",
            hint="Write the kubeconfig anew with `kubewitness kubeconfig issue --exec`.",
        )


def exec_credential(certificate_pem: bytes, key_pem: bytes, not_after: float) -> str:
    """The answer: a certificate and its key, as JSON for stdout.

    client-go keeps it in memory and asks again after `not_after` (seconds since the epoch).
    """
    expiry = datetime.fromtimestamp(int(not_after), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = {
        "apiVersion": API_VERSION,
        "kind": "ExecCredential",
        "status": {
            "expirationTimestamp": expiry,
            # PEM text as it is, not base64, unlike in a kubeconfig.
            "clientCertificateData": certificate_pem.decode("ascii"),
            "clientKeyData": key_pem.decode("ascii"),
        },
    }
    return msgspec.json.encode(answer).decode()

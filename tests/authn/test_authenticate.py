from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from proxy.authn.authenticate import Authenticated, Reason, Unauthenticated, authenticate
from proxy.authn.certificate import CertificateIdentity
from proxy.state.snapshot import EMPTY, Credential, Snapshot, Usage

NOW = 1_800_000_000.0
CERTIFICATE = CertificateIdentity(
    user="alice", groups=("dev", "ops"), serial="abc", fingerprint="f1",
    not_before=NOW - 60, not_after=NOW + 60,
)  # fmt: skip
CREDENTIAL = Credential(
    serial="abc", user="alice", groups=("dev", "ops"), clusters=("prod",), usage=Usage.KUBECTL,
    issued_at=NOW - 60, not_after=NOW + 60, fingerprint="f1",
)  # fmt: skip


def holding(*credentials: Credential) -> Snapshot:
    return Snapshot(
        1, MappingProxyType({item.serial: item for item in credentials}), EMPTY.clusters
    )


def with_(**changes: Any) -> Credential:
    return msgspec.structs.replace(CREDENTIAL, **changes)


def test_a_recorded_living_credential_is_accepted() -> None:
    caller = authenticate(CERTIFICATE, holding(CREDENTIAL), NOW, Usage.KUBECTL)
    assert caller == Authenticated("alice", ("dev", "ops"), "abc", CREDENTIAL)


@pytest.mark.parametrize(
    ("certificate", "snapshot", "now", "reason"),
    [
        (None, holding(CREDENTIAL), NOW, Reason.NO_CERTIFICATE),
        (CERTIFICATE, EMPTY, NOW, Reason.UNKNOWN),
        (CERTIFICATE, holding(with_(serial="abd")), NOW, Reason.UNKNOWN),
        (CERTIFICATE, holding(with_(fingerprint="f2")), NOW, Reason.ALTERED),
        (CERTIFICATE, holding(with_(user="bob")), NOW, Reason.ALTERED),
        (CERTIFICATE, holding(with_(groups=("dev",))), NOW, Reason.ALTERED),
        (CERTIFICATE, holding(with_(groups=("ops", "dev"))), NOW, Reason.ALTERED),
        (CERTIFICATE, holding(with_(revoked_at=NOW - 1)), NOW, Reason.REVOKED),
        (CERTIFICATE, holding(with_(revoked_at=0.0)), NOW, Reason.REVOKED),
        (CERTIFICATE, holding(CREDENTIAL), NOW + 60, Reason.EXPIRED),
        (CERTIFICATE, EMPTY, NOW + 60, Reason.EXPIRED),
        (CERTIFICATE, holding(with_(not_after=NOW)), NOW, Reason.EXPIRED),
        (CERTIFICATE, holding(CREDENTIAL), NOW - 61, Reason.NOT_YET_VALID),
        (CERTIFICATE, holding(with_(usage=Usage.ADMIN)), NOW, Reason.WRONG_USAGE),
        (CERTIFICATE, holding(with_(usage=Usage.RENEW)), NOW, Reason.WRONG_USAGE),
    ],
)
def test_everything_else_is_refused(
    certificate: CertificateIdentity | None, snapshot: Snapshot, now: float, reason: Reason
) -> None:
    with pytest.raises(Unauthenticated) as caught:
        authenticate(certificate, snapshot, now, Usage.KUBECTL)
    assert caught.value.reason is reason


@pytest.mark.parametrize("usage", [Usage.ADMIN, Usage.RENEW])
def test_a_kubectl_credential_opens_nothing_else(usage: Usage) -> None:
    with pytest.raises(Unauthenticated) as caught:
        authenticate(CERTIFICATE, holding(CREDENTIAL), NOW, usage)
    assert caught.value.reason is Reason.WRONG_USAGE


def test_a_revocation_counts_from_the_next_call() -> None:
    decide: Callable[[Snapshot], Authenticated] = lambda snapshot: authenticate(  # noqa: E731
        CERTIFICATE, snapshot, NOW, Usage.KUBECTL
    )
    assert decide(holding(CREDENTIAL)).user == "alice"
    with pytest.raises(Unauthenticated):
        decide(holding(with_(revoked_at=NOW)))

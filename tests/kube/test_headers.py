"""What of a client's head goes upstream, and what the last gate lets out."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.kube.headers import GateRefused, last_gate, response_headers, sanitised
from proxy.kube.impersonation import Headers, Identity, headers

ALICE = Identity(
    "alice", ("dev", "ops", "dev"), "42", (("kubewitness.io/credential", ("ab12", "cd34")),)
)
FORBIDDEN = [
    "Impersonate-User",
    "impersonate-group",
    "IMPERSONATE-UID",
    "Impersonate-Extra-scopes",
    "Impersonate-Anything-New",
    "Impersonate_User",
    "X-Remote-User",
    "x-remote-group",
    "X-Remote-Extra-a",
    "X_Remote_User",
    "X-Forwarded-For",
    "X-Forwarded-Client-Cert",
    "Forwarded",
    "X-Real-Ip",
    "Authorization",
    "Proxy-Authorization",
    "Audit-ID",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Content-Length",
    "Host",
    "Expect",
    "X-Kubewitness-User",
]
KUBECTL: Headers = [
    (b"User-Agent", b"kubectl/v1.37.1 (linux/amd64) kubernetes/f78e722"),
    (b"Accept", b"application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
    (b"Accept-Encoding", b"gzip"),
    (b"kubectl-command", b"kubectl get"),
    (b"Kubectl-Session", b"0f8fad5b"),
    (b"If-None-Match", b'"x"'),
    (b"Content-Type", b"application/apply-patch+yaml"),
]
UPGRADE: Headers = [
    (b"User-Agent", b"kubectl"),
    (b"Upgrade", b"SPDY/3.1"),
    *[(b"X-Stream-Protocol-Version", b"v%d.channel.k8s.io" % n) for n in (5, 4, 3, 2)],
    (b"X-Stream-Protocol-Version", b"channel.k8s.io"),
]

names = st.sampled_from(FORBIDDEN).map(str.encode) | st.text(
    st.sampled_from("IMPERSONATEimpersonatexX-_rRoOuU: "), min_size=1, max_size=24
).map(str.encode)
values = st.sampled_from(
    [b"close", b"close, Impersonate-User,Authorization", b"upgrade, accept", b"a", b""]
) | st.binary(max_size=8)
heads = st.lists(st.tuples(names, values) | st.sampled_from(KUBECTL + UPGRADE), max_size=12)
identities = st.builds(
    Identity,
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8),
    st.lists(st.text("abc:é", min_size=1, max_size=8), max_size=4).map(tuple),
    st.text("abc-", max_size=4),
    st.dictionaries(
        st.text("az0/-._", min_size=1, max_size=10),
        st.lists(st.text("xyz", min_size=1, max_size=3), min_size=1, max_size=2).map(tuple),
        max_size=2,
    ).map(lambda extra: tuple(extra.items())),
)


def test_what_kubectl_sends_passes_in_order() -> None:
    assert sanitised(KUBECTL, upgrade=False) == KUBECTL


def test_an_upgrade_keeps_every_protocol_version() -> None:
    received = [*UPGRADE[:2], (b"Connection", b"Upgrade"), *UPGRADE[2:]]
    assert sanitised(received, upgrade=True) == UPGRADE
    assert sanitised(received, upgrade=False) == UPGRADE[:1]


def test_an_upgrade_loses_bearer_tokens_among_its_subprotocols() -> None:
    name = b"Sec-WebSocket-Protocol"
    token = b"base64url.bearer.authorization.k8s.io.c2VjcmV0"
    offered = [(name, token + b", v5.channel.k8s.io"), (name, token.upper()), (name, b"a,b")]
    assert sanitised(offered, upgrade=True) == [(name, b"v5.channel.k8s.io"), (name, b"a,b")]


def test_a_backend_gets_its_own_headers() -> None:
    own = [(b"Cookie", b"sid=1"), (b"X-CSRF-Token", b"t"), (b"X-Grafana-Org-Id", b"1")]
    assert sanitised(own, upgrade=False) == []
    assert sanitised(own, upgrade=False, backend=True) == own


@pytest.mark.parametrize("backend", [False, True])
@pytest.mark.parametrize("upgrade", [False, True])
@pytest.mark.parametrize("name", FORBIDDEN)
def test_lesson_04_to_07_forbidden_headers_never_pass(
    name: str, upgrade: bool, backend: bool
) -> None:
    for spelling in (name, name.lower(), name.upper()):
        head = [(spelling.encode(), b"x")] * 2
        assert sanitised(head, upgrade=upgrade, backend=backend) == []


@pytest.mark.parametrize("backend", [False, True])
def test_lesson_06_and_20_claims_about_user_and_source_never_pass(backend: bool) -> None:
    claims = [b"X-Remote-User", b"X-Remote-Group", b"X-Remote-Extra-Scopes", b"X-Real-Ip"]
    claims += [b"X-Forwarded-For", b"X-Forwarded-Client-Cert", b"Forwarded", b"True-Client-Ip"]
    head = [(name, b"root") for name in claims]
    assert sanitised([*head, *KUBECTL], upgrade=True, backend=backend) == KUBECTL


@given(heads, st.booleans(), st.booleans())
def test_lesson_05_no_client_header_that_starts_with_impersonate_passes(
    head: Headers, upgrade: bool, backend: bool
) -> None:
    passed = [name.lower() for name, _ in sanitised(head, upgrade=upgrade, backend=backend)]
    refused = {name.lower().encode() for name in FORBIDDEN}
    assert not refused & set(passed)
    for name in passed:
        assert not name.startswith((b"impersonate", b"x-remote-", b"x-forwarded", b"proxy-"))
        assert re.fullmatch(rb"[a-z0-9!#$%&'*+.^`|~-]+", name)
    assert b"upgrade" not in passed or upgrade


@given(heads, st.booleans(), st.booleans(), identities)
def test_lesson_01_connection_header_cannot_drop_identity(
    head: Headers, upgrade: bool, backend: bool, identity: Identity
) -> None:
    """Whatever the client sends, the finished head carries exactly our identity."""
    listed = (b"Connection", b"close, Impersonate-User, Impersonate-Group, X-Remote-User")
    passed = sanitised([listed, *head], upgrade=upgrade, backend=backend)
    if any(set(b"\x00\r\n") & set(value) for _, value in passed):
        return
    last_gate([*passed, *headers(identity), (b"Connection", b"keep-alive")], identity)


def test_lesson_01_listed_headers_are_dropped_even_when_allowed() -> None:
    head = [(b"Accept", b"a"), (b"connection", b"close"), (b"Connection", b"keep-alive,\taccept")]
    assert sanitised(head, upgrade=False) == []


@given(st.permutations(headers(ALICE)))
def test_the_gate_opens_for_the_exact_identity_in_any_order(acting: Headers) -> None:
    head = [(b"Accept", b"*/*"), *acting, (b"Authorization", b"Bearer own")]
    last_gate(head, ALICE, authorization=b"Bearer own")


@pytest.mark.parametrize(
    "added",
    [
        (b"Impersonate-User", b"alice"),
        (b"impersonate-user", b"bob"),
        (b"Impersonate-Group", b"system:masters"),
        (b"Impersonate-Group", b"ops"),
        (b"Impersonate-Extra-Scopes", b"x"),
        (b"IMPERSONATED", b"x"),
        (b"Impersonate_User", b"x"),
        (b"X-Remote-User", b"x"),
        (b"x-remote-extra-a", b"x"),
        (b"Authorization", b"Bearer other"),
        (b"Connection", b"close, Impersonate-User"),
        (b"Accept", b"a\r\nImpersonate-User: bob"),
        (b"Accept", b"a\x00"),
        (b"A\nccept", b"a"),
        (b"Accept:", b"a"),
        (b"Impersonate-User ", b"a"),
        (b"", b"a"),
    ],
)
def test_lesson_04_the_gate_refuses_one_header_too_many(added: tuple[bytes, bytes]) -> None:
    last_gate(headers(ALICE), ALICE, authorization=b"Bearer own")
    with pytest.raises(GateRefused) as refused:
        last_gate([*headers(ALICE), added], ALICE, authorization=b"Bearer own")
    assert "bob" not in str(refused.value)


def test_lesson_03_the_gate_refuses_every_missing_identity_header() -> None:
    complete = headers(ALICE)
    for index in range(len(complete)):
        with pytest.raises(GateRefused):
            last_gate(complete[:index] + complete[index + 1 :], ALICE)
    with pytest.raises(GateRefused):
        last_gate([], ALICE)


def test_lesson_03_the_gate_refuses_an_identity_that_cannot_be_sent() -> None:
    with pytest.raises(GateRefused):
        last_gate([(b"Impersonate-User", b"")], Identity("", ()))


def test_the_gate_refuses_the_proxy_credential_twice_or_uninvited() -> None:
    own = (b"Authorization", b"Bearer own")
    for extra, invited in (([own, own], b"Bearer own"), ([own], None)):
        with pytest.raises(GateRefused):
            last_gate([*headers(ALICE), *extra], ALICE, authorization=invited)


def test_responses_keep_duplicates_and_lose_hop_by_hop_headers() -> None:
    warnings = [(b"Warning", b'299 - "one"'), (b"Warning", b'299 - "two"')]
    kept = [(b"Content-Type", b"application/json;g=x;v=v2"), (b"Content-Length", b"5"), *warnings]
    gone = [
        (b"Connection", b"close, X-Internal"),
        (b"X-Internal", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Trailer", b"x"),
        (b"Upgrade", b"h2c"),
    ]
    assert response_headers([*gone, *kept]) == kept
    accepted = [(b"Upgrade", b"SPDY/3.1"), (b"X-Stream-Protocol-Version", b"v5.channel.k8s.io")]
    assert response_headers([(b"Connection", b"Upgrade"), *accepted], upgrade=True) == accepted

"""Who a request is from; with tokens on real connections in `test_tokens`."""

import hashlib

import pytest

from proxy.control.entry.admitting import LOCAL_ADMIN, LOCAL_ISSUER, is_local_admin, secret_hash
from proxy.runtime.admin import USER
from proxy.state.snapshot import Credential, Usage
from tests.control.plane import Plane, raw


def credential(user: str, by: str) -> Credential:
    return Credential("1", user, (), (), Usage.ADMIN, 0.0, 1.0, "f", by)


@pytest.mark.parametrize(
    ("user", "by", "local"),
    [
        (LOCAL_ADMIN, LOCAL_ISSUER, True),
        (LOCAL_ADMIN, "admin (5f)", False),
        (LOCAL_ADMIN, "", False),
        ("ann", LOCAL_ISSUER, False),
    ],
)
def test_the_local_administrator_is_known_by_who_issued_the_credential(
    user: str, by: str, local: bool
) -> None:
    assert is_local_admin(credential(user, by)) is local
    assert LOCAL_ADMIN == USER


def test_a_user_called_as_the_machine_itself_issues_as_themselves(plane: Plane) -> None:
    from proxy.cli.client import Client
    from proxy.pki.keys import csr, new_key

    named = Client(plane.granted(LOCAL_ISSUER, "admin"))
    issued = named.post(
        "/credentials",
        {"user": LOCAL_ADMIN, "usage": "admin", "csr": csr(new_key(), "x").decode()},
    )
    known = plane.services.watcher.current.credentials[issued["serial"]]
    assert known.issued_by.startswith("kubewitness (")
    assert not is_local_admin(known)


def test_what_is_stored_of_a_secret_is_its_hash() -> None:
    assert secret_hash("secret") == hashlib.sha256(b"secret").hexdigest()


def test_two_authorizations_are_one_too_many(shared: Plane) -> None:
    import http.client

    from proxy.cli.client import tls_context

    host, port = shared.address.split(":")
    connection = http.client.HTTPSConnection(host, int(port), context=tls_context(shared.admin()))
    connection.putrequest("GET", "/api/v1/version")
    for _ in range(2):
        connection.putheader("Authorization", "Bearer kwt_x")
    connection.endheaders()
    assert connection.getresponse().status == 401
    connection.close()


def test_a_denial_names_the_program_it_came_through(shared: Plane) -> None:
    for agent, via in (
        ("kubewitness/1 (linux)", "cli"),
        ("Mozilla/5.0", "dashboard"),
        ("curl/8", "api"),
    ):
        raw(shared, "GET", "/api/v1/users", anonymous=True, User_Agent=agent)
        event = shared.events("listUsers")[-1]
        assert (event["detail"]["via"], event["detail"]["agent"]) == (via, agent)

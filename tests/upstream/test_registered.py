"""A second account is used at the cluster that is registered, and nowhere else."""

from dataclasses import replace
from pathlib import Path

import pytest

from proxy.clock import SystemClock
from proxy.reaching import Upstream
from proxy.upstream.access import Access, AccessError
from proxy.upstream.cluster import Target
from proxy.upstream.registered import load_second

FIRST = Access("http://127.0.0.1:8001/p", server_name="k", token="first")
SECOND = replace(FIRST, token="second")
PERMIT = Upstream(plain_http=(FIRST.server,))


async def target(second: Access, first: Access = FIRST, *, given: bool = True) -> Target:
    handle = await load_second(
        "prod",
        second.document("prod"),
        first.document("prod"),
        upstream=PERMIT,
        clock=SystemClock(),
        given=given,
    )
    await handle.close()
    return handle.target


async def test_its_login_is_used_with_the_address_of_the_first() -> None:
    found = await target(replace(SECOND, server="http://127.0.0.1:8001/p/", server_name="other"))
    assert found.authorization() == b"Bearer second"
    assert (found.host, found.port, found.base_path) == ("127.0.0.1", 8001, b"/p")
    assert found.server_hostname == "k"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (replace(SECOND, server="https://127.0.0.1:8001/p"), "is registered as"),
        (replace(SECOND, server="http://127.0.0.1:8002/p"), "is registered as"),
        (replace(SECOND, ca_pem=b"CA"), "certificate authority is not the one"),
        (replace(SECOND, insecure=True), "does not verify"),
        (replace(SECOND, token="", token_file=Path("/run/t")), "has not permitted"),
    ],
)
async def test_what_is_given_is_of_that_cluster(second: Access, message: str) -> None:
    with pytest.raises(AccessError, match=message):
        await target(second)


async def test_what_was_stored_before_goes_where_the_cluster_is_now() -> None:
    found = await target(replace(SECOND, server="https://elsewhere:6443"), given=False)
    assert (found.host, found.port) == ("127.0.0.1", 8001)


async def test_outside_a_pod_there_is_no_cluster_of_the_pod() -> None:
    with pytest.raises(AccessError, match="no service account"):
        await load_second(
            "prod", SECOND.document("prod"), None, upstream=PERMIT, clock=SystemClock()
        )

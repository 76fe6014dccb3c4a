"""Who gets in, and the documents that are not objects."""

import io
from collections.abc import AsyncIterator

import aiohttp
import pytest

from proxy.sandbox import Sandbox


@pytest.fixture
async def plain() -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    sandbox = Sandbox()
    url = await sandbox.start()
    async with aiohttp.ClientSession(url) as session:
        yield session, sandbox.kubeconfig()["users"][0]["user"]["token"]
    await sandbox.stop()


Plain = tuple[aiohttp.ClientSession, str]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer {token}"}, 403),
        ({"Authorization": "Bearer {token}", "Impersonate-User": "alice"}, 200),
        ({"Authorization": "Bearer {token}", "Impersonate-Group": "dev"}, 400),
    ],
)
async def test_only_impersonated_people_get_in(
    plain: Plain, headers: dict[str, str], code: int
) -> None:
    session, token = plain
    filled = {name: value.format(token=token) for name, value in headers.items()}
    async with session.get("/api/v1/pods", headers=filled) as response:
        body = await response.json()
        assert response.status == code
        assert response.headers["Audit-Id"]
    if code != 200:
        assert (body["kind"], body["status"], body["code"]) == ("Status", "Failure", code)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/version", 200),
        ("/readyz", 200),
        ("/api", 200),
        ("/apis/apps", 200),
        ("/apis/apps/v1", 200),
        ("/openapi/v2", 200),
        ("/openapi/v3", 200),
        ("/openapi/v3/apis/apps/v1", 200),
        ("/openapi/v3/apis/none/v1", 404),
        ("/apis/none", 404),
        ("/nothing", 404),
        ("/api/v1/namespaces//pods", 404),
    ],
)
async def test_documents(plain: Plain, path: str, code: int) -> None:
    session, token = plain
    headers = {"Authorization": f"Bearer {token}"}
    async with session.get(path, headers=headers) as response:
        assert response.status == code


async def test_aggregated_discovery_can_be_asked_for_again(plain: Plain) -> None:
    session, token = plain
    kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    headers = {"Authorization": f"Bearer {token}", "Accept": f"{kind},application/json"}
    async with session.get("/apis", headers=headers) as response:
        assert response.headers["Content-Type"] == kind
        etag = response.headers["ETag"]
        body = await response.json()
    assert {item["metadata"]["name"] for item in body["items"]} >= {"apps", "batch"}
    async with session.get("/apis", headers=headers | {"If-None-Match": etag}) as response:
        assert (response.status, await response.read()) == (304, b"")


async def test_a_body_that_is_too_large_is_refused(plain: Plain) -> None:
    session, token = plain
    headers = {"Authorization": f"Bearer {token}", "Impersonate-User": "a"}
    path = "/api/v1/namespaces/shop/configmaps"
    async with session.post(path, headers=headers, data=io.BytesIO(b"x" * 4_000_000)) as response:
        assert response.status == 413


async def test_a_kubeconfig_needs_a_running_sandbox() -> None:
    with pytest.raises(Exception, match="not running"):
        Sandbox().kubeconfig()

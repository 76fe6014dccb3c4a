"""Through the proxy everything looks as it does without it: output, errors, exit codes, objects."""

import difflib
import itertools
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.client import Client
from tests.e2e.comparing import Place, tell
from tests.e2e.conftest import Cluster, find_program, make_namespace
from tests.e2e.scenarios import STORIES

_numbers = itertools.count(1)


PROGRAMS = ("kubectl", "kubectl-older")
WAYS = ("a-direct", "b-proxy")


@pytest.fixture
def namespaces(admin: Client) -> Iterator[dict[tuple[str, str], str]]:
    """A namespace for each program and way, with names of one length so that tables look the same."""
    number = next(_numbers)
    names = {
        (program, way): f"same-{os.getpid()}-{number:03}-{letter}"
        for letter, (program, way) in zip("abcd", itertools.product(PROGRAMS, WAYS), strict=True)
    }
    for name in names.values():
        make_namespace(admin, name)
    yield names
    admin.ok("delete", "namespace", *names.values(), "--wait=false")


@pytest.mark.parametrize("story", STORIES)
def test_a_story_is_the_same_by_both_ways(
    story: str,
    namespaces: dict[tuple[str, str], str],
    direct_kubeconfig: Path,
    proxied_kubeconfig: Path,
    cluster: Cluster,
) -> None:
    kubeconfigs = dict(zip(WAYS, (direct_kubeconfig, proxied_kubeconfig), strict=True))

    def by(program: str, way: str) -> str:
        namespace = namespaces[program, way]
        client = Client(find_program(program), kubeconfigs[way], namespace)
        view = json.loads(client.ok("config", "view", "--minify", "-o", "json"))
        server = view["clusters"][0]["cluster"]["server"]
        told = tell(STORIES[story], client, Place(namespace, cluster.image, server))
        return "".join(map(str, told))

    with ThreadPoolExecutor(len(namespaces)) as pool:
        running = {key: pool.submit(by, *key) for key in namespaces}
    for program in PROGRAMS:
        direct, proxied = (running[program, way].result() for way in WAYS)
        lines = difflib.unified_diff(direct.splitlines(), proxied.splitlines(), *WAYS)
        assert proxied == direct, "\n".join([program, *lines])

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from proxy.clock import ManualClock
from proxy.sandbox import Sandbox
from proxy.sandbox.kinds import NAMESPACE
from proxy.sandbox.registry import Registry
from proxy.sandbox.store import Store
from tests.sandbox.transcripts import Kubectl


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    running = Sandbox(tls=True)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def kubectl(sandbox: Sandbox, tmp_path: Path) -> Kubectl:
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(sandbox.kubeconfig(user="alice", groups=["dev"])))
    return Kubectl(tmp_path, path)


@pytest.fixture
def play(kubectl: Kubectl) -> Callable[[str], Awaitable[None]]:
    return kubectl.play


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def registry(clock: ManualClock) -> Registry:
    """An empty cluster with one namespace, and nobody who does anything by himself."""
    made = Registry(Store(), clock)
    made.create(NAMESPACE, "", {"metadata": {"name": "shop"}})
    return made

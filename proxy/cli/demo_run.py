"""One run of the demo: sandbox, proxy, a registered cluster, a kubeconfig for alice.

What it does to the proxy it does as a person would: through the control plane, recorded.
"""

import asyncio
import base64
import contextlib
import hashlib
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import yaml
from cryptography import x509

from proxy.cli import init, issuing
from proxy.cli.client import Client
from proxy.cli.connection import of_data_dir, path_of
from proxy.cli.demo import own_kubeconfig, say_ready
from proxy.cli.demo_state import LOOPBACK, DemoState
from proxy.data_dir import DataDir
from proxy.errors import InvalidInputError, KubewitnessError
from proxy.runtime.process import Stop
from proxy.runtime.serve import Started, serve
from proxy.sandbox.cluster import Sandbox
from proxy.sandbox.kinds import POD
from proxy.settings import Settings
from proxy.tasks import spawn
from proxy.upstream.access import Access, read_access
from proxy.upstream.permitted import permitting

USER: Final = "alice"
GROUP: Final = "dev"
TTL: Final = "8h"
LEAST_LEFT: Final = timedelta(hours=1)
"""A kubeconfig that ends sooner is replaced at the start."""
SANDBOX: Final = "sandbox"
POD_START: Final = 5.0
"""Seconds the sandbox's pods get to start; afterwards it is ready without them."""


async def run(state: DemoState, settings: Settings, context: str) -> None:
    """Serve until Ctrl-C. Raises KubewitnessError when it cannot start."""
    stop = Stop()
    stop.on_signals()
    data = DataDir(settings.data_dir)
    account = _own_account(data, context) if context else None
    if not data.initialised:
        await asyncio.to_thread(init.initialise, settings)
    sandbox: Sandbox | None = None
    try:
        if account is None:
            sandbox = Sandbox(data.path / "sandbox.json", token=state.token)
            await sandbox.start(LOOPBACK, state.ports["sandbox"])
            account = read_access(sandbox.kubeconfig())
        own = account.document(context or SANDBOX)
        # Whoever starts a demo is the operator of this machine, and named this account.
        permit = {"upstream": permitting(settings.upstream, account, _program(account))}
        settings = settings.model_copy(update=permit)
        await _serve(state, settings, context, own, stop, sandbox)
    finally:
        if sandbox is not None:
            await sandbox.stop()


async def _serve(
    state: DemoState,
    settings: Settings,
    context: str,
    own: bytes,
    stop: Stop,
    sandbox: Sandbox | None,
) -> None:
    introductions: list[asyncio.Task[None]] = []
    failures: list[KubewitnessError] = []

    async def introduce() -> None:
        cluster = _cluster_name(context) if context else SANDBOX
        try:
            path = await asyncio.to_thread(_prepare, state, settings, cluster, own)
        except KubewitnessError as error:
            failures.append(error)
            stop.ask("the demo could not be prepared")
        else:
            await _pods_run(sandbox)
            say_ready(path, settings, context=context, group=GROUP)

    def started(what: Started) -> None:
        del what
        introductions.append(spawn(introduce(), name="introduction"))

    await serve(settings, started, stop=stop)
    await asyncio.gather(*introductions)
    if failures:
        raise failures[0]


async def _pods_run(sandbox: Sandbox | None) -> None:
    """Wait until the sandbox's first pods run, so that the printed commands find them."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(POD_START):
            while sandbox is not None:
                pods = sandbox.registry.store.items(POD)
                if pods and all(pod["status"].get("phase") == "Running" for pod in pods):
                    return
                await asyncio.sleep(0.02)


def _prepare(state: DemoState, settings: Settings, cluster: str, own: bytes) -> Path:
    """Register the cluster and issue the kubeconfig, unless both are there and good."""
    client = Client(of_data_dir(settings.data_dir))
    digest = hashlib.sha256(own).hexdigest()
    present = {item["name"] for item in client.get("/clusters")["items"]}
    if cluster in present and state.clusters.get(cluster) != digest:
        client.delete(path_of("clusters", cluster))
        present.discard(cluster)
    if cluster not in present:
        client.post("/clusters", {"name": cluster, "kubeconfig": own.decode()})
    state.clusters[cluster] = digest
    state.save()
    path = settings.data_dir / (
        f"{USER}.kubeconfig" if cluster == SANDBOX else f"{cluster}.kubeconfig"
    )
    if not _good(path, settings, client):
        request = {"user": USER, "groups": [GROUP], "clusters": [cluster], "ttl": TTL}
        issuing.write_plain(client, request, path)
    return path


def _good(path: Path, settings: Settings, client: Client) -> bool:
    """Whether a kubeconfig of an earlier start still works, and will for a while."""
    try:
        document = yaml.safe_load(path.read_text())
        server = str(document["clusters"][0]["cluster"]["server"])
        pem = base64.b64decode(document["users"][0]["user"]["client-certificate-data"])
        certificate = x509.load_pem_x509_certificate(pem)
    except (OSError, yaml.YAMLError, KeyError, IndexError, TypeError, ValueError):
        return False
    if certificate.not_valid_after_utc - datetime.now(UTC) < LEAST_LEFT:
        return False
    if f":{settings.listen.rpartition(':')[2]}/" not in server:
        return False
    serial = f"{certificate.serial_number:x}"
    listed = client.get("/credentials", {"user": USER})["items"]
    return any(item["serial"] == serial for item in listed)


def _cluster_name(context: str) -> str:
    """A context's name as a cluster's: a DNS label."""
    name = "".join(char if char.isalnum() and char.isascii() else "-" for char in context.lower())
    return name.strip("-")[:63].rstrip("-") or "cluster"


def _program(account: Access) -> str:
    """The path of the exec plugin that an account uses, if any. Raises InvalidInputError."""
    if account.plugin is None:
        return ""
    found = shutil.which(account.plugin["command"])
    if found is None:
        raise InvalidInputError(
            f"The exec plugin {account.plugin['command']!r} of that context is not on this machine.",
            hint="Install it, or add it to PATH.",
        )
    return str(Path(found).absolute())


def _own_account(data: DataDir, context: str) -> Access:
    """The account of one of the person's contexts, with what its kubeconfig names."""
    path = own_kubeconfig()
    if path.resolve().is_relative_to(data.path.resolve()):
        raise InvalidInputError(
            f"KUBECONFIG names {path}, which the demo made itself.",
            hint="Run `unset KUBECONFIG` here, or set it to your own file.",
        )
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}.") from error
    except yaml.YAMLError:
        # Not chained: the text around the error may be a key.
        raise InvalidInputError(f"{path} is not YAML.") from None
    if not isinstance(document, dict):
        raise InvalidInputError(f"{path} is not a kubeconfig.")
    return read_access(document, context=context, base=path.parent.absolute())

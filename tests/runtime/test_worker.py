"""Calls through several worker processes: served, recorded, and cut when the credential is."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from proxy.cli.app import run
from proxy.sandbox.cluster import Sandbox
from proxy.settings import Settings
from tests.runtime.processes import Process

KUBECTL = Path(sys.executable).with_name("kubectl")


async def command(*arguments: str) -> None:
    assert await asyncio.to_thread(run, list(arguments)) == 0, arguments


async def kubectl(kubeconfig: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(str(KUBECTL), "--kubeconfig", str(kubeconfig), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def output(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode()


async def test_two_workers_serve_record_and_cut(
    settings: Settings,
    start: Callable[..., Process],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sandbox = Sandbox(token="t", tls=True)
    await sandbox.start()
    account = tmp_path / "account.yaml"
    account.write_text(yaml.safe_dump(sandbox.kubeconfig()))
    here = ("--data-dir", str(settings.data_dir))
    addresses = [f"--{name}=127.0.0.1:0" for name in ("listen", "control", "metrics")]
    serve = start("serve", *here, "--workers", "2", *addresses, "--drain-timeout", "5")
    await asyncio.to_thread(serve.wait_for, "kubewitness is ready")
    kubeconfig = tmp_path / "alice.kubeconfig"
    try:
        await command("cluster", "add", "sand", "--kubeconfig", str(account), *here)
        issue = ("kubeconfig", "issue", "alice", "--group", "dev", "--cluster", "sand")
        await command(*issue, "--ttl", "1h", "-o", str(kubeconfig), *here)

        looks = [await kubectl(kubeconfig, "get", "namespaces") for _ in range(8)]
        for code, said in await asyncio.gather(*map(output, looks)):
            assert (code, "shop" in said) == (0, True), said

        capsys.readouterr()
        await command("audit", "search", "--user", "alice", "--verb", "list", "-o", "json", *here)
        found = json.loads(capsys.readouterr().out)
        assert len(found) == 8

        watch = await kubectl(kubeconfig, "get", "pods", "-n", "shop", "--watch")
        assert watch.stdout is not None
        await asyncio.wait_for(watch.stdout.readline(), 30)
        await command("kubeconfig", "revoke", "--user", "alice", "--yes", *here)
        refused, said = await output(await kubectl(kubeconfig, "get", "namespaces"))
        assert refused != 0, said
        await asyncio.wait_for(watch.wait(), 10)
    finally:
        code = await asyncio.to_thread(serve.end, signal.SIGTERM)
        await sandbox.stop()
    assert code == 0, serve.output
    writers = {path.parent.name for path in (settings.data_dir / "journal").glob("*/*.jsonl")}
    assert writers == {"main", "worker-1", "worker-2"}

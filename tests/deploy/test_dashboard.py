"""The dashboard: every query of every panel has an answer from a proxy that really runs."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from proxy.cli.app import run
from proxy.sandbox.cluster import Sandbox
from tests.deploy.prometheus import DEPLOY
from tests.deploy.scraping import Prometheus, scraping
from tests.runtime.processes import initialised, own_environment, running
from tests.write_tables import metrics

__all__ = ["own_environment"]
DASHBOARD = DEPLOY / "grafana" / "kubewitness.json"
KUBECTL = Path(sys.executable).with_name("kubectl")
VARIABLES = {"$__rate_interval": "20s", "$job": ".*", "$instance": ".*", "$cluster": ".*"}


def dashboard() -> dict[str, Any]:
    return dict(json.loads(DASHBOARD.read_text()))


def queries() -> Iterator[tuple[str, str]]:
    """(panel, expression) with Grafana's variables filled in."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            yield panel["title"], expression


async def work(directory: Path, data_dir: Path, sandbox: Sandbox) -> None:
    """Calls that succeed, and some that are refused."""
    account = directory / "account.yaml"
    account.write_text(yaml.safe_dump(sandbox.kubeconfig()))
    kubeconfig = directory / "alice.kubeconfig"
    here = ("--data-dir", str(data_dir))
    issue = ("kubeconfig", "issue", "alice", "--group", "dev", "--cluster", "sand")
    for command in (
        ("cluster", "add", "sand", "--kubeconfig", str(account), *here),
        (*issue, "--ttl", "1h", "-o", str(kubeconfig), *here),
    ):
        assert await asyncio.to_thread(run, list(command)) == 0
    for words in (("get", "pods", "-A"), ("get", "--raw", "/../x"), ("get", "namespaces")):
        process = await asyncio.create_subprocess_exec(
            *(KUBECTL, "--kubeconfig", str(kubeconfig), *words),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await asyncio.wait_for(process.wait(), 30)


async def test_every_query_is_answered_by_a_running_proxy(
    tmp_path: Path, own_environment: None
) -> None:
    sandbox = Sandbox(token="t", tls=True)
    await sandbox.start()
    settings = initialised(tmp_path / "data")
    try:
        async with running(settings) as (started, _):
            await work(tmp_path, settings.data_dir, sandbox)
            await asyncio.to_thread(look, started.metrics, tmp_path)
    finally:
        await sandbox.stop()


def look(address: str, directory: Path) -> None:
    """Ask everything, and the rules as well."""
    with scraping(address, directory) as prometheus:
        # More of the same, so that there is a rate of everything.
        kubectl = [str(KUBECTL), "--kubeconfig", str(directory / "alice.kubeconfig")]
        for _ in range(2):
            subprocess.run([*kubectl, "get", "pods", "-A"], check=True, capture_output=True)
        last = "sum(rate(kubewitness_calls_total[20s])) > 0"
        prometheus.until(lambda: prometheus.query(last), 20, "calls are counted")
        silent = [(panel, query) for panel, query in queries() if not prometheus.query(query)]
        assert silent == []
        assert "KubewitnessAbsent" not in prometheus.firing()
        assert_rules_work(prometheus)


def assert_rules_work(prometheus: Prometheus) -> None:
    """Every rule was evaluated without an error."""
    groups = prometheus.rules()
    assert len(groups) == 3
    broken = [rule for group in groups for rule in group["rules"] if rule["health"] == "err"]
    assert broken == []


def test_every_metric_of_the_product_is_on_it() -> None:
    shown = " ".join(query for _, query in queries())
    plain = {re.sub(r"_(total|info)$", "", name) for name, *_ in metrics()}
    assert [name for name in sorted(plain) if name not in shown] == []


def test_every_panel_says_what_it_shows_and_has_a_place_of_its_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(numbers) == len(set(numbers))


def test_every_variable_a_query_uses_is_offered() -> None:
    offered = {variable["name"] for variable in dashboard()["templating"]["list"]}
    used = set(re.findall(r"\$(?!__)\{?([a-z]+)", DASHBOARD.read_text()))
    assert used == offered

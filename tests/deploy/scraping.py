"""A real Prometheus that scrapes something on loopback, as a context."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.prometheus import RULES, program
from tests.ports import reserved_ports

READY = 30.0
"""Seconds it may take to answer, and to have scraped its target, on a busy machine."""


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    address: str

    def _get(self, path: str, **query: str) -> Any:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query; an AssertionError when it is no query."""
        return list(self._get("query", query=expression)["result"])

    def rules(self) -> list[dict[str, Any]]:
        """The groups of rules, with how the last evaluation of each rule went."""
        return list(self._get("rules")["groups"])

    def firing(self) -> dict[str, dict[str, Any]]:
        """The alerts that fire now, by name."""
        alerts = self._get("alerts")["alerts"]
        return {
            alert["labels"]["alertname"]: alert for alert in alerts if alert["state"] == "firing"
        }

    def until(self, condition: Callable[[], Any], seconds: float, what: str) -> Any:
        """What `condition` gives once it is true; an AssertionError when that takes too long."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
            time.sleep(0.2)
        return found


@contextmanager
def scraping(target: str, directory: Path, *, interval: str = "1s") -> Iterator[Prometheus]:
    """Prometheus with our rules, its data in `directory`, ready and with `target` scraped twice."""
    configuration = directory / "prometheus.yml"
    configuration.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": interval, "evaluation_interval": interval},
                "rule_files": [str(RULES)],
                "scrape_configs": [
                    {"job_name": "kubewitness", "static_configs": [{"targets": [target]}]}
                ],
            }
        )
    )
    address = f"127.0.0.1:{reserved_ports()[0]}"
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={configuration}",
                f"--storage.tsdb.path={directory / 'prometheus'}",
                f"--web.listen-address={address}",
                "--log.level=warn",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        prometheus = Prometheus(address)
        try:
            prometheus.until(
                lambda: _scraped(prometheus, process, log.name), READY, "scraped twice"
            )
            yield prometheus
        finally:
            process.terminate()
            process.wait(20)


def _scraped(prometheus: Prometheus, process: "subprocess.Popen[bytes]", log: str) -> bool:
    assert process.poll() is None, Path(log).read_text()
    try:
        found = prometheus.query("count_over_time(kubewitness_build_info[1m]) >= 2")
    except OSError:
        return False  # it does not listen yet
    return bool(found)

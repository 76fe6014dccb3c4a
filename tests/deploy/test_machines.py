"""The image's recipe, the compose file and the systemd unit, as far as they can be read; `make e2e` runs the image."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.cli.app import run
from proxy.cli.settings_table import rows
from tests.deploy.prometheus import DEPLOY, ROOT, promtool

COMPOSE = DEPLOY / "compose.yaml"
UNIT = DEPLOY / "systemd" / "kubewitness.service"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
EXPOSURE = 2.0
"""Of `systemd-analyze security`, from 0 (nothing is open to it) to 10."""


def services() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(COMPOSE.read_text())["services"])


def ours() -> dict[str, dict[str, Any]]:
    return {name: item for name, item in services().items() if item["image"] == "kubewitness"}


class TestImage:
    def test_the_base_is_an_official_slim_python_by_digest(self) -> None:
        base = re.search(r"^ARG BASE=(.*)$", DOCKERFILE, re.MULTILINE)
        assert base is not None
        assert re.fullmatch(r"python:3\.\d+-slim[a-z-]*@sha256:[0-9a-f]{64}", base[1])
        assert re.findall(r"^FROM (.*)$", DOCKERFILE, re.MULTILINE) == [
            "${BASE} AS build",
            "${BASE}",
        ]

    def test_it_is_not_root_and_stays_so(self) -> None:
        last = DOCKERFILE.split("\nFROM ")[-1]
        assert "\nUSER 65532:65532\n" in last
        assert "\nRUN " not in last

    def test_everything_it_copies_is_there_and_let_through(self) -> None:
        ignored = (ROOT / ".dockerignore").read_text().splitlines()
        allowed = [line[1:] for line in ignored if line.startswith("!")]
        copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
        for name in " ".join(copied).split():
            assert (ROOT / name).exists(), name
            assert any(f"{item}/".startswith(f"{name}/") for item in allowed), name
        assert [name for name in allowed if not (ROOT / name).exists()] == []

    @pytest.mark.parametrize("name", ["requirements.txt", "deploy/requirements-build.txt"])
    def test_what_it_installs_is_pinned_by_hash(self, name: str) -> None:
        text = (ROOT / name).read_text()
        packages = re.split(r"\n(?=\S)", text.strip())
        assert len(packages) >= 5
        assert [item for item in packages if "==" not in item or "--hash=sha256:" not in item] == []


class TestCompose:
    def test_it_has_the_proxy_a_database_and_what_watches_them(self) -> None:
        assert set(services()) == {
            *("proxy", "init", "upgrade", "database", "prometheus", "grafana"),
        }

    @pytest.mark.parametrize("name", ["proxy", "init", "upgrade"])
    def test_ours_have_no_rights(self, name: str) -> None:
        service = ours()[name]
        assert service["read_only"] is True
        assert service["user"] == "65532:65532"
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]

    def test_settings_are_settings(self) -> None:
        known = {row.variable for row in rows()} | {"KUBEWITNESS_ADMIN_DATABASE"}
        for service in ours().values():
            assert set(service["environment"]) <= known

    @pytest.mark.parametrize("name", ["proxy", "init", "upgrade"])
    def test_commands_are_commands(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        words = [word for word in ours()[name]["command"] if word != "kubewitness"]
        nouns = [word for word in words if not word.startswith("-")]
        assert run([*nouns, "--help"]) == 0
        said = capsys.readouterr().out
        assert [word for word in words if word.startswith("-") and word not in said] == []

    def test_files_it_mounts_are_there(self) -> None:
        mounted = [
            volume.split(":")[0]
            for service in services().values()
            for volume in service.get("volumes", [])
            if volume.startswith(".")
        ]
        assert len(mounted) >= 6
        assert [name for name in mounted if not (DEPLOY / name).exists()] == []

    def test_no_version_floats(self) -> None:
        foreign = [item["image"] for item in services().values() if item["image"] != "kubewitness"]
        assert len(foreign) == len(set(foreign)) == 3
        pinned = r"[a-z]+(/[a-z]+)?:v?\d+\.\d+(\.\d+)?@sha256:[0-9a-f]{64}"
        assert [name for name in foreign if not re.fullmatch(pinned, name)] == []

    def test_names_in_it_lead_to_something(self) -> None:
        declared = set(yaml.safe_load(COMPOSE.read_text())["volumes"])
        named = [
            volume.split(":")[0]
            for service in services().values()
            for volume in service.get("volumes", [])
            if not volume.startswith(".")
        ]
        assert set(named) == declared
        for name, service in services().items():
            needed = set(service.get("depends_on", []))
            assert needed <= set(services()) - {name}
        waited = {
            (other, wait["condition"])
            for service in services().values()
            if isinstance(needs := service.get("depends_on"), dict)
            for other, wait in needs.items()
        }
        assert waited == {
            ("init", "service_completed_successfully"),
            ("upgrade", "service_completed_successfully"),
            ("database", "service_healthy"),
        }
        assert "healthcheck" in services()["database"]

    def test_every_variable_is_asked_for_or_has_a_default(self) -> None:
        text = COMPOSE.read_text()
        used = re.findall(r"\$\{([A-Z_]+)(:[-?])?", text)
        assert {name for name, _ in used} == {"KUBEWITNESS_PASSWORD", "KUBEWITNESS_NAMES"}
        assert [name for name, otherwise in used if not otherwise] == []

    def test_only_known_keys_are_in_it(self) -> None:
        """Compose refuses a misspelt key; so do we, who have no engine to run it with."""
        known = {
            *("image", "build", "command", "environment", "volumes", "tmpfs", "read_only", "user"),
            *("cap_drop", "security_opt", "restart", "stop_grace_period", "ports", "ulimits"),
            *("healthcheck", "depends_on", "shm_size"),
        }
        for service in services().values():
            assert set(service) <= known
            assert set(service.get("healthcheck", {})) <= {
                *("test", "interval", "start_period", "retries", "timeout"),
            }

    def test_only_the_data_plane_is_open_to_others(self) -> None:
        ports = [port for item in services().values() for port in item.get("ports", [])]
        assert [port for port in ports if not port.startswith("127.0.0.1:")] == ["8443:8443"]

    def test_prometheus_accepts_its_configuration(self, tmp_path: Path) -> None:
        text = (DEPLOY / "compose" / "prometheus.yml").read_text()
        target = services()["prometheus"]["volumes"][1]
        inside = target.split(":")[1]
        assert inside in text
        here = tmp_path / "prometheus.yml"
        here.write_text(text.replace(inside, str(DEPLOY / target.split(":")[0])))
        assert "rules found" in promtool("check", "config", here)


class TestUnit:
    def test_little_is_open_to_it(self) -> None:
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        level = re.search(r"Overall exposure level for kubewitness.service: ([0-9.]+)", done.stdout)
        assert level is not None, done.stdout + done.stderr
        assert float(level[1]) <= EXPOSURE

    def test_every_line_is_understood(self, tmp_path: Path) -> None:
        # The program is elsewhere on this machine.
        unit = tmp_path / UNIT.name
        unit.write_text(UNIT.read_text().replace("/opt/kubewitness/bin/kubewitness", "/bin/true"))
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", unit],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_it_waits_for_calls_to_end(self) -> None:
        drain = next(row.default for row in rows() if row.name == "drain_timeout")
        assert isinstance(drain, float)
        given = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
        assert given is not None
        assert float(given[1]) > drain

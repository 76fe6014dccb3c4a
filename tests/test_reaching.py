"""Settings of how clusters are reached: entries that can be read in one way only."""

from pathlib import Path
from typing import Any

import pytest

from proxy.errors import SettingsError
from proxy.reaching import place, read_plugin
from proxy.settings import load


def test_an_entry_is_read_and_written_alike() -> None:
    line = "https://k:6443 A='x y' /bin/aws eks get-token --cluster-name 'my cluster'"
    plugin = read_plugin(line)
    assert plugin.command == ("/bin/aws", "eks", "get-token", "--cluster-name", "my cluster")
    assert plugin.environment == (("A", "x y"),)
    assert read_plugin(plugin.line) == plugin


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://k", "https://K:443/", True),
        ("https://k", "http://k:443", False),
        ("https://k/a", "https://k/b", False),
        ("https://[::1]:1", "https://[::1]:2", False),
    ],
)
def test_what_one_server_is(one: str, other: str, same: bool) -> None:
    assert (place(one) == place(other)) is same


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("plugins", ""),
        ("plugins", "https://k"),
        ("plugins", "https://k aws eks get-token"),
        ("plugins", "/bin/aws eks get-token"),
        ("plugins", "https://k A=b"),
        ("plugins", "https://k /bin/aws 'open"),
        ("plugins", "https://user@k /bin/aws"),
        ("token_files", "/run/t"),
        ("token_files", "https://k run/t"),
        ("token_files", "https://k /run/t /run/u"),
        ("plain_http", "https://k"),
        ("plain_http", "127.0.0.1:8001"),
    ],
)
def test_what_cannot_be_read_is_refused_at_the_start(tmp_path: Path, name: str, value: str) -> None:
    flags: dict[str, Any] = {"data_dir": tmp_path, "upstream": {name: [value]}}
    with pytest.raises(SettingsError, match=rf"upstream\.{name}"):
        load(flags)


def test_they_come_from_the_file_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kubewitness.yaml").write_text("upstream: {plugins: ['https://k /bin/x a,b']}")
    monkeypatch.setenv("KUBEWITNESS_UPSTREAM_PLAIN_HTTP", "http://127.0.0.1:1, http://[::1]:2")
    upstream = load({"data_dir": tmp_path}).upstream
    assert upstream.plugins == ("https://k /bin/x a,b",)
    assert upstream.plain_http == ("http://127.0.0.1:1", "http://[::1]:2")

"""Every setting is documented, and has a flag, a variable and a line in the file."""

import inspect
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from proxy.cli.settings_flags import with_settings
from proxy.cli.settings_table import Row, as_yaml, markdown, replace_between, rows, template
from proxy.settings import FILE_NAME, Settings, load

ROWS = rows()
NAMES = [row.name for row in ROWS]
SAMPLES: dict[str, str] = {
    "tls.min_version": "1.3",
    "upstream.excess_permissions": "refuse",
    "access.unregistered": "refuse",
    "upstream.idle_timeout": "17",
    "journal.unsafe_filesystem": "allow",
    "audit.ack": "replicated",
    "log.level": "debug",
    "log.format": "json",
    "upstream.plugins": "https://eks.example:443 AWS_PROFILE=prod /usr/bin/aws eks get-token",
    "upstream.token_files": "https://k8s.example /run/token",
    "upstream.plain_http": "http://127.0.0.1:8001",
    "listen": "127.0.0.1:1",
    "control": "127.0.0.1:2",
    "metrics": "127.0.0.1:3",
    "trusted_proxies": "10.0.0.0/8",
    "workers": "7",
    "suspicious.enabled": "false",
    "suspicious.secret_lists": "false",
    "suspicious.ipv4_prefix": "16",
    "suspicious.ipv6_prefix": "48",
    "suspicious.hours": "Mon-Fri 08:00-18:00 UTC",
}
"""Values that are not the default; for the rest one is made from the kind."""


def sample(name: str) -> str:
    row = next(row for row in ROWS if row.name == name)
    made = {"text": "x", "path": "/x", "list": "a,b", "number": "7", "whole number": "50000000"}
    return SAMPLES.get(name) or made[row.kind]


def value_of(settings: Settings, name: str) -> object:
    value: object = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def flagged(options: dict[str, object]) -> Settings:
    """The settings that `serve` gets for these command-line options."""
    got: list[Settings] = []
    function = with_settings(lambda settings: got.append(settings))  # noqa: PLW0108  # its name is the flag
    given = dict.fromkeys(inspect.signature(function).parameters) | options
    function(**given)
    return got[0]


def test_the_table_has_every_field_of_the_model() -> None:
    groups = {name for name in Settings.model_fields if "." not in name}
    assert {row.path[0] for row in ROWS} == groups
    assert len(NAMES) == len(set(NAMES)) > 30


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_each_setting_says_what_it_is(row: Row) -> None:
    assert row.description.endswith("."), "a sentence"
    assert len(row.description) > 15
    assert row.description in markdown()


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.name != "data_dir"], ids=lambda r: r.name
)
def test_each_setting_has_a_flag_a_variable_and_a_line(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = sample(row.name)
    if row.name == "database_file":  # read at once
        (tmp_path / "url").write_text("postgresql://kw@db/kw\n")
        text = str(tmp_path / "url")
    default = value_of(load({"data_dir": str(tmp_path)}), row.name)

    by_flag = flagged(
        {"data_dir": str(tmp_path), "_".join(row.path): [text] if row.is_list else text}
    )
    wanted = value_of(by_flag, row.name)
    assert wanted != default, "the sample must differ from the default"

    chosen = template({row.name: wanted})
    (tmp_path / FILE_NAME).write_text(chosen)
    assert value_of(load({"data_dir": str(tmp_path)}), row.name) == wanted
    (tmp_path / FILE_NAME).unlink()

    monkeypatch.setenv(row.variable, text)
    assert value_of(load({"data_dir": str(tmp_path)}), row.name) == wanted


def defaults(path: Path) -> dict[str, object]:
    return load({"data_dir": str(path / "nowhere")}).model_dump() | {"data_dir": path}


def test_the_template_alone_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(template({}))
    assert load({"data_dir": str(tmp_path)}).model_dump() == defaults(tmp_path)


def test_uncommenting_every_line_of_the_template_changes_nothing(tmp_path: Path) -> None:
    lines = []
    for line in template({}).splitlines():
        bare = line.lstrip()
        field = bare.removeprefix("# ").split(":")[0]
        is_setting = any(row.path[-1] == field for row in ROWS) and bare.startswith("# ")
        lines.append(line.replace("# ", "", 1) if is_setting else line)
    document = yaml.safe_load("\n".join(lines))
    assert len(document) == len(Settings.model_fields) - 1, "all but the data directory"
    (tmp_path / FILE_NAME).write_text("\n".join(lines))
    assert load({"data_dir": str(tmp_path)}).model_dump() == defaults(tmp_path)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (1.0, "1.0"),
        (("a", "b"), "[a, b]"),
        (Path("x"), "x"),
        ("0.0.0.0:1", "0.0.0.0:1"),
    ],
)
def test_values_as_yaml(value: object, text: str) -> None:
    assert as_yaml(value) == text


def test_replace_between_touches_only_what_is_between() -> None:
    text = "a\n<!-- settings -->\nold\n<!-- /settings -->\nb <!-- metrics -->\n<!-- /metrics -->\n"
    assert replace_between(text, "settings", "new\\1\n") == text.replace("old", "new\\1")


def test_a_flag_beats_the_environment_which_beats_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE_NAME).write_text("workers: 2\njournal: {deadline: 2}\nlog:\n")
    assert load({"data_dir": str(tmp_path)}).workers == 2
    monkeypatch.setenv("KUBEWITNESS_WORKERS", "3")
    assert load({"data_dir": str(tmp_path)}).workers == 3
    settings = flagged({"data_dir": str(tmp_path), "workers": "4", "limits_connections": "9"})
    assert (settings.workers, settings.limits.connections, settings.journal.deadline) == (4, 9, 2)


def test_options_of_a_command_stand_beside_those_of_the_settings() -> None:
    app = typer.Typer()

    def command(settings: Settings, shout: bool = False) -> None:
        typer.echo(f"{settings.workers} {shout}")

    app.command()(with_settings(command, only=frozenset({"workers"})))
    result = CliRunner().invoke(app, ["--workers", "5", "--shout"])
    assert result.output == "5 True\n"
